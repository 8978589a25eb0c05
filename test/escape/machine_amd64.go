package escape

import "golang.org/x/sys/unix"

// getpid32 is getpid(2) by the 32-bit interface: int 0x80.
func getpid32() int32

var ofArchitecture = []Attempt{
	{Name: "iopl", Gain: "speak to the machine's ports", Vague: true, try: attempt(func() error { return call(unix.SYS_IOPL, 0) })},
	{Name: "modify_ldt", Gain: "the segments of several flaws of the kernel's", Vague: true, try: attempt(func() error {
		return call(unix.SYS_MODIFY_LDT, 0, 0, 0)
	})},
	{Name: "calls of the 32-bit interface", Gain: "other numbers for the filter, older code in the kernel", Vague: true, Deadly: true, try: attempt(func() error {
		if result := getpid32(); result < 0 {
			return unix.Errno(-result)
		}
		return nil
	})},
	{Name: "calls of the x32 interface", Gain: "the same", Vague: true, Deadly: true, try: attempt(func() error {
		const x32 = 0x40000000
		return call(x32 | unix.SYS_GETPID)
	})},
}
