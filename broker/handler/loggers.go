package handler

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap/zapcore"
)

// rootLogger is the one logger this broker has in Kafka's terms (KIP-412): the level of its log.
const rootLogger = "root"

// sourceLogger is DescribeConfigs' source of a logger's level.
const sourceLogger = 6

// levels are Kafka's levels as ours. There is nothing below DEBUG here, and nothing that is only FATAL.
var levels = map[string]zapcore.Level{
	"TRACE": zapcore.DebugLevel, "DEBUG": zapcore.DebugLevel, "INFO": zapcore.InfoLevel, "WARN": zapcore.WarnLevel,
	"ERROR": zapcore.ErrorLevel, "FATAL": zapcore.DPanicLevel,
}

// levelName is the current level as Kafka writes it.
func (h *handlers) levelName() string {
	switch l := h.LogLevel.Level(); {
	case l >= zapcore.DPanicLevel:
		return "FATAL"
	default:
		return l.CapitalString()
	}
}

// alterLoggers changes the level of the broker's log until it stops. All operations are checked before the first takes effect.
func (h *handlers) alterLoggers(rr *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	if err := h.alterableBroker(rr.ResourceName); err != nil {
		return err
	}
	for i := range rr.Configs {
		if err := h.checkLogger(&rr.Configs[i]); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	for i := range rr.Configs {
		h.LogLevel.SetLevel(levels[*rr.Configs[i].Value])
	}
	return nil
}

func (h *handlers) checkLogger(op *kmsg.IncrementalAlterConfigsRequestResourceConfig) error {
	if h.LogLevel == nil || op.Name != rootLogger {
		return refuse(kerr.InvalidConfig, "Logger %s does not exist!", op.Name)
	}
	switch op.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		if _, known := levels[*op.Value]; !known {
			return refuse(kerr.InvalidConfig, "Cannot set the log level of %s to %s as it is not a supported log level. "+
				"Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN", op.Name, *op.Value)
		}
		return nil
	case kmsg.IncrementalAlterConfigOpDelete:
		return refuse(kerr.InvalidRequest, "Removing the log level of the %s logger is not allowed", op.Name)
	}
	return refuse(kerr.InvalidRequest, "%s operation is not allowed for the BROKER_LOGGER resource", op.Op)
}
