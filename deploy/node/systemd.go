package node

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
)

// systemdSocket is where systemd itself speaks D-Bus to root, as it does to
// systemctl. It is there without a bus, which not every node has, and past the
// bus's own rules about confined processes.
const systemdSocket = "/run/systemd/private"

// restart has systemd start the distribution's containerd again, and waits until
// it has. Without systemd on the node it returns false and does nothing.
func restart(ctx context.Context, h host, d distribution) (done bool, err error) {
	path, err := h.path(systemdSocket)
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(path); err != nil {
		return false, nil
	}
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) { return dialSystemd(ctx, path) })
	if err != nil {
		return false, fmt.Errorf("systemd of the node at %s: %w; it must be run as root of the node's own user namespace", systemdSocket, err)
	}
	defer conn.Close()
	units, err := conn.ListUnitsByPatternsContext(ctx, []string{"active", "activating", "failed"}, d.units)
	if err != nil {
		return false, fmt.Errorf("systemd of the node: list %s: %w", strings.Join(d.units, ", "), err)
	}
	if len(units) == 0 {
		return false, fmt.Errorf("systemd of the node runs none of %s; start %s again by hand, it will then have the change", strings.Join(d.units, ", "), d.name)
	}
	for _, unit := range units {
		result := make(chan string, 1)
		if _, err := conn.RestartUnitContext(ctx, unit.Name, "replace", result); err != nil {
			return false, fmt.Errorf("systemd of the node: restart %s: %w", unit.Name, err)
		}
		select {
		case r := <-result:
			if r != "done" {
				return false, fmt.Errorf("systemd of the node: restart %s: %s; see journalctl -u %s", unit.Name, r, unit.Name)
			}
		case <-ctx.Done():
			return false, fmt.Errorf("systemd of the node: restart %s: %w", unit.Name, ctx.Err())
		}
	}
	return true, nil
}

func dialSystemd(ctx context.Context, path string) (*dbus.Conn, error) {
	var d net.Dialer
	socket, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	conn, err := dbus.NewConn(socket, dbus.WithContext(ctx))
	if err != nil {
		socket.Close()
		return nil, err
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(os.Getuid()))}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
