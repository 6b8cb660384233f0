// Package e2e runs the broker as its users do: from the command line to the last file. It looks at how a broker starts and
// refuses to start (start_test.go), how it stops (stop_test.go), what its own tools do (tools_test.go), and what clients that mean
// no good can do to it (hostile_test.go).
package e2e
