package engine

import "golang.org/x/sys/unix"

// kernelRandom reads the kernel's random numbers. crypto/rand would give the
// same ones, and cost every container's start its packages' set-up.
type kernelRandom struct{}

func (kernelRandom) Read(p []byte) (int, error) {
	// A signal can cut a long request short; wazero reads until it has enough.
	n, err := unix.Getrandom(p, 0)
	if err != nil {
		return 0, err
	}
	return n, nil
}
