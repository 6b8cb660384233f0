package e2e

import "golang.org/x/sys/unix"

// inputQueue is how many bytes wait to be read from a socket.
func inputQueue(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ)
	if err != nil {
		return -1
	}
	return n
}
