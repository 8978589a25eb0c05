package wire

import (
	"cmp"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// SendFile writes one message with a file, which stays the caller's. The file
// may be nil.
func SendFile(socket *os.File, message any, file *os.File) error {
	if file == nil {
		return Send(socket, message)
	}
	frame, err := encode(message)
	if err != nil {
		return err
	}
	// The file goes with the first part that the kernel takes.
	rights := unix.UnixRights(int(file.Fd()))
	conn, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var sent int
	var errno error
	err = conn.Write(func(fd uintptr) (done bool) {
		sent, errno = unix.SendmsgN(int(fd), frame, rights, nil, unix.MSG_NOSIGNAL)
		return settled(errno)
	})
	if err = cmp.Or(err, errno); err != nil {
		return os.NewSyscallError("sendmsg", err)
	}
	// A peer that has all of it may have answered and ended, and then the kernel
	// takes even a write of nothing for an error.
	if sent < len(frame) {
		_, err = socket.Write(frame[sent:])
	}
	return err
}

// ReceiveFile reads one message and the file that has come with it, nil where
// none has. The caller closes the file. It is closed where a program is executed.
func ReceiveFile(socket *os.File, message any) (file *os.File, err error) {
	defer func() {
		if err != nil && file != nil {
			file.Close()
			file = nil
		}
	}()
	var head [4]byte
	var n, rightsLength int
	rights := make([]byte, unix.CmsgSpace(4))
	conn, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var errno error
	err = conn.Read(func(fd uintptr) (done bool) {
		n, rightsLength, _, _, errno = unix.Recvmsg(int(fd), head[:], rights, unix.MSG_CMSG_CLOEXEC)
		return settled(errno)
	})
	switch err = cmp.Or(err, errno); {
	case err != nil:
		return nil, os.NewSyscallError("recvmsg", err)
	case n == 0:
		return nil, io.EOF
	}
	if file, err = receivedFile(rights[:rightsLength]); err != nil {
		return file, err
	}
	if _, err := io.ReadFull(socket, head[n:]); err != nil {
		return file, err
	}
	return file, receiveBody(socket, head, message)
}

// settled says that a call need not be made again.
func settled(err error) bool { return err != unix.EAGAIN && err != unix.EINTR }

func receivedFile(rights []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	switch {
	case err != nil:
		return nil, err
	case len(fds) != 1:
		for _, fd := range fds {
			unix.Close(fd)
		}
		return nil, errors.New("more than one file came with a message")
	}
	return os.NewFile(uintptr(fds[0]), "received"), nil
}
