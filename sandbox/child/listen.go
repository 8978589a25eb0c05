package child

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// listen opens a socket for each of the addresses. They do not block: a guest waits
// for connections by poll_oneoff.
func listen(addresses []netip.AddrPort) (sockets []int, err error) {
	for _, address := range addresses {
		socket, err := listenAt(address)
		if err != nil {
			return nil, fmt.Errorf("listening at tcp://%s: %w", address, err)
		}
		sockets = append(sockets, socket)
	}
	return sockets, nil
}

func listenAt(address netip.AddrPort) (int, error) {
	family := unix.AF_INET6
	var bound unix.Sockaddr = &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}
	if address.Addr().Is4() {
		family, bound = unix.AF_INET, &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}
	}
	socket, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// Engines may give the network namespace its addresses later, before the start.
	err = unix.SetsockoptInt(socket, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	if err == nil {
		err = unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil && family == unix.AF_INET6 {
		// Or 0.0.0.0 beside it would be taken.
		err = unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		err = unix.Bind(socket, bound)
	}
	if err == nil {
		err = unix.Listen(socket, unix.SOMAXCONN)
	}
	if err != nil {
		unix.Close(socket)
		return -1, err
	}
	return socket, nil
}
