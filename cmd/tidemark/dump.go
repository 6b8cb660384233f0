package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemark-mq/tidemark/protocol/record"
	"github.com/tidemark-mq/tidemark/storage/segment"
)

// dumper prints one file of a partition's directory.
type dumper struct {
	records bool
	out     *bufio.Writer
	notes   io.Writer // progress, so that output can be piped
}

func dumpCommand() *cobra.Command {
	d := &dumper{}
	cmd := &cobra.Command{
		Use:   "dump FILE...",
		Short: "Show segment files, indexes, producer snapshots and leader epochs, checking every checksum",
		Long: "Show what is in a partition's files: .log, .index, .timeindex, .txnindex, .snapshot, leader-epoch-checkpoint and\n" +
			"partition.metadata. Every batch's checksum is compared. The exit status is 1 when something is damaged.",
		Args: atLeastOne("file"),
	}
	cmd.Flags().BoolVarP(&d.records, "records", "r", false, "print every record, not only batches")
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		d.out, d.notes = bufio.NewWriter(cmd.OutOrStdout()), cmd.ErrOrStderr()
		var damaged []error
		for _, f := range files {
			fmt.Fprintf(d.out, "%s\n", f)
			if err := d.file(f); err != nil {
				damaged = append(damaged, fmt.Errorf("%s: %w", f, err))
			}
		}
		return errors.Join(append(damaged, d.out.Flush())...)
	}
	return cmd
}

func (d *dumper) file(path string) error {
	if _, err := os.Stat(path); err != nil {
		return errors.Unwrap(err) // who prints it names the file
	}
	switch filepath.Ext(path) {
	case ".log":
		return d.segment(path)
	case ".index":
		return d.entries(path, 8, func(b []byte) {
			fmt.Fprintf(d.out, "relative offset %d position %d\n", int32(binary.BigEndian.Uint32(b)), int32(binary.BigEndian.Uint32(b[4:])))
		})
	case ".timeindex":
		return d.entries(path, 12, func(b []byte) {
			fmt.Fprintf(d.out, "timestamp %d relative offset %d\n", int64(binary.BigEndian.Uint64(b)), int32(binary.BigEndian.Uint32(b[8:])))
		})
	case ".txnindex":
		return d.entries(path, 34, func(b []byte) {
			at := func(i int) int64 { return int64(binary.BigEndian.Uint64(b[2+8*i:])) }
			fmt.Fprintf(d.out, "version %d producer %d first %d last %d stable %d\n", binary.BigEndian.Uint16(b), at(0), at(1), at(2), at(3))
		})
	case ".snapshot":
		return d.snapshot(path)
	}
	switch filepath.Base(path) {
	case "leader-epoch-checkpoint":
		return d.epochs(path)
	case "partition.metadata":
		return d.plain(path)
	}
	return errors.New("not a kind of file this knows; .log, .index, .timeindex, .txnindex, .snapshot, leader-epoch-checkpoint and partition.metadata are")
}

// segment goes through a log file batch by batch. Damage ends it: without a batch's
// length nothing after it can be found.
func (d *dumper) segment(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in := bufio.NewReaderSize(f, 1<<20)
	var pos int64
	var buf []byte
	told := time.Now()
	for pos < info.Size() {
		head, err := in.Peek(record.HeaderSize)
		if err != nil {
			return fmt.Errorf("at byte %d: %d bytes are left, fewer than a batch header of %d", pos, info.Size()-pos, record.HeaderSize)
		}
		size, err := record.PeekSize(head)
		if err != nil {
			return fmt.Errorf("at byte %d: %w", pos, err)
		}
		if int64(size) > info.Size()-pos {
			return fmt.Errorf("at byte %d: a batch of %d bytes, of which %d are there", pos, size, info.Size()-pos)
		}
		if cap(buf) < size {
			buf = make([]byte, size)
		}
		if _, err := io.ReadFull(in, buf[:size]); err != nil {
			return fmt.Errorf("at byte %d: %w", pos, err)
		}
		if err := d.batch(record.Batch(buf[:size]), pos); err != nil {
			return fmt.Errorf("at byte %d: %w", pos, err)
		}
		pos += int64(size)
		if time.Since(told) > time.Second {
			told = time.Now()
			fmt.Fprintf(d.notes, "%s: %d%%\n", filepath.Base(path), 100*pos/info.Size())
		}
	}
	return nil
}

func (d *dumper) batch(b record.Batch, pos int64) error {
	fmt.Fprintf(d.out, "base offset %d last offset %d count %d position %d size %d epoch %d magic %d codec %s time %d..%d producer %d/%d sequence %d..%d",
		b.BaseOffset(), b.LastOffset(), b.NumRecords(), pos, len(b), b.LeaderEpoch(), b.Magic(), b.Codec(), b.BaseTimestamp(), b.MaxTimestamp(),
		b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.LastSequence())
	if b.IsAppendTime() {
		fmt.Fprint(d.out, " append-time")
	}
	if b.IsTransactional() {
		fmt.Fprint(d.out, " transactional")
	}
	if b.IsControl() {
		fmt.Fprint(d.out, " control")
	}
	if h, ok := b.DeleteHorizon(); ok {
		fmt.Fprintf(d.out, " delete-horizon %d", h)
	}
	fmt.Fprintf(d.out, " crc %08x\n", b.CRC())
	if err := b.CheckCRC(); err != nil {
		return fmt.Errorf("offset %d: %w", b.BaseOffset(), err)
	}
	if !d.records {
		return nil
	}
	return d.recordsOf(b)
}

// recordLimit bounds what a compressed batch of a file may unfold to here.
const recordLimit = 1 << 30

func (d *dumper) recordsOf(b record.Batch) error {
	for rec, err := range b.All(recordLimit) {
		if err != nil {
			return err
		}
		fmt.Fprintf(d.out, "  offset %d time %d key %s value %s", rec.Offset, rec.Timestamp, shown(rec.Key), shown(rec.Value))
		for k, v := range rec.Headers() {
			fmt.Fprintf(d.out, " %q=%s", k, shown(v))
		}
		fmt.Fprintln(d.out)
	}
	return nil
}

func shown(b []byte) string {
	if b == nil {
		return "null"
	}
	return fmt.Sprintf("%q", b)
}

func (d *dumper) entries(path string, size int, show func([]byte)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	b := make([]byte, size)
	for {
		n, err := io.ReadFull(in, b)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%d bytes after the last whole entry of %d", n, size)
		}
		show(b)
	}
}

// sideFileLimit bounds the side files read whole.
const sideFileLimit = segment.MaxSnapshot

func readSide(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > sideFileLimit {
		return nil, fmt.Errorf("%d bytes; such a file has at most %d", info.Size(), sideFileLimit)
	}
	return os.ReadFile(path)
}

func (d *dumper) snapshot(path string) error {
	data, err := readSide(path)
	if err != nil {
		return err
	}
	producers, err := segment.DecodeSnapshot(data)
	if err != nil {
		return err
	}
	for i := range producers {
		p := &producers[i]
		fmt.Fprintf(d.out, "producer %d epoch %d coordinator epoch %d transaction start %d last time %d", p.ID, p.Epoch, p.CoordinatorEpoch, p.TxnStart, p.LastTime)
		for _, b := range p.Batches[:p.NumBatches] {
			fmt.Fprintf(d.out, " [sequence ..%d offsets %d..%d]", b.LastSequence, b.FirstOffset(), b.LastOffset)
		}
		fmt.Fprintln(d.out)
	}
	return nil
}

func (d *dumper) epochs(path string) error {
	data, err := readSide(path)
	if err != nil {
		return err
	}
	entries, err := segment.DecodeEpochs(data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Fprintf(d.out, "epoch %d from offset %d\n", e.Epoch, e.Start)
	}
	return nil
}

func (d *dumper) plain(path string) error {
	data, err := readSide(path)
	if err == nil {
		_, err = fmt.Fprintf(d.out, "%s\n", bytes.TrimRight(data, "\n"))
	}
	return err
}
