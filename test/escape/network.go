package escape

import "golang.org/x/sys/unix"

// socket makes one and closes it. A family that the kernel does not have is as
// good as refused.
func socket(family, kind, protocol int) func(world) error {
	return func(world) error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err == unix.EAFNOSUPPORT || err == unix.EPROTONOSUPPORT || err == unix.ESOCKTNOSUPPORT {
			return errHidden
		}
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
}

var network = []Attempt{
	{Name: "TCP", Gain: "reach services in the container's network", try: socket(unix.AF_INET, unix.SOCK_STREAM, 0)},
	{Name: "UDP", Gain: "the same", Vague: true, try: socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)},
	{Name: "raw sockets", Gain: "forge packets", try: socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)},
	{Name: "packet sockets", Gain: "see and forge the traffic of the network", try: socket(unix.AF_PACKET, unix.SOCK_RAW, 0)},
	{Name: "netlink", Gain: "change the network; many flaws", try: socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
	{Name: "netfilter", Gain: "the flaws of nf_tables, the most used of the last years", Vague: true, try: socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)},
	{Name: "Unix sockets", Gain: "reach daemons whose socket is in a volume, and abstract ones", try: socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)},
	{Name: "AF_ALG", Gain: "the kernel's cryptography; many flaws", Vague: true, try: socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
	{Name: "AF_VSOCK", Gain: "reach the hypervisor", Vague: true, try: socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
	{Name: "socketpair", Gain: "pass descriptors; shape the kernel's heap", try: attempt(func() error {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			unix.Close(pair[0])
			unix.Close(pair[1])
		}
		return err
	})},
}
