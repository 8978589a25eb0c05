package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// readyMessage is what the daemon writes to its standard output once it is about
// to serve. Anything else there is why it does not.
const readyMessage = "ready"

// readyTimeout is how long a daemon may take to be ready.
const readyTimeout = 30 * time.Second

// awaitReady waits at the other end of the daemon's output until the daemon is
// ready or has ended. containerd may so take an answer of `start` for a shim
// that serves, and what kept one from serving is an error of `start`.
func awaitReady(output *os.File) error {
	if err := output.SetReadDeadline(time.Now().Add(readyTimeout)); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(output, 4<<10))
	switch said := strings.TrimSpace(string(text)); {
	case said == readyMessage:
		return nil
	case said != "":
		return errors.New(said)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it is not ready after %s", readyTimeout)
	case err != nil:
		return err
	default:
		return errors.New("it has ended; its log, which is in containerd's, says why")
	}
}

// announceFailure tells `start` why the daemon is about to end.
func announceFailure(err error) {
	_, _ = os.Stdout.WriteString(err.Error()) // nobody may be there any more
}

// announceReady is the daemon's part. It fails where `start` has ended before
// its time, and then nobody will ever know of this daemon. The log has taken the
// place of standard error by then.
func announceReady() error {
	if _, err := os.Stdout.WriteString(readyMessage); err != nil {
		return fmt.Errorf("the action start has ended: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	return unix.Dup3(int(null.Fd()), int(os.Stdout.Fd()), 0)
}
