package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"runtime/metrics"
	"strings"
	"testing"
)

// FuzzReceive reads what a peer out of its mind has sent. Receive takes one
// message and not a byte more, and no more memory than a message may have.
func FuzzReceive(f *testing.F) {
	for _, message := range []any{Report{}, Report{Error: "module /app.wasm: no such file"}, Setup{ID: "c", Rootfs: "/rootfs"}} {
		var sent bytes.Buffer
		if err := Send(&sent, message); err != nil {
			f.Fatal(err)
		}
		f.Add(sent.Bytes())
		f.Add(append(sent.Bytes(), 1)) // the start, right after it
		f.Add(sent.Bytes()[:sent.Len()-1])
	}
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(binary.BigEndian.AppendUint32(nil, maxMessage))
	f.Add(binary.BigEndian.AppendUint32(nil, maxMessage+1))
	f.Fuzz(func(t *testing.T, sent []byte) {
		reader := bytes.NewReader(sent)
		var setup Setup
		var err error
		took := allocated(func() { err = Receive(reader, &setup) })
		if took > 2*maxMessage+64*uint64(len(sent)) {
			t.Errorf("a message of %d bytes took %d", len(sent), took)
		}
		whole, size := false, uint64(0)
		if len(sent) >= 4 {
			size = 4 + uint64(binary.BigEndian.Uint32(sent))
			whole = uint64(len(sent)) >= size && size-4 <= maxMessage
		}
		switch {
		case whole && uint64(len(sent)-reader.Len()) != size:
			t.Errorf("of a message of %d bytes %d were read", size, len(sent)-reader.Len())
		case !whole && err == nil:
			t.Error("what is not a whole message was taken for one")
		case len(sent) == 0 && err != io.EOF:
			t.Errorf("a peer that said nothing: %v", err)
		case len(sent) > 0 && len(sent) < 4 && errors.Is(err, io.EOF):
			t.Error("a peer that said something is taken for one that said nothing")
		}
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := Send(&again, setup); err != nil {
			t.Fatal(err)
		}
		var same Setup
		if err := Receive(&again, &same); err != nil || !reflect.DeepEqual(setup, same) {
			t.Errorf("%v: sent on, %+v becomes %+v", err, setup, same)
		}
	})
}

// allocated is how many bytes f allocates; others may have done so meanwhile.
func allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}

// FuzzSend sends texts, which come from images and guests, and reads them.
func FuzzSend(f *testing.F) {
	f.Add("c1", "/rootfs", "")
	f.Add("\x00\u2028\\\"", "/a\nb", "module x: \x1b[31mred")
	f.Add("\xff\xfe", "/", strings.Repeat("x", 1<<10))
	f.Fuzz(func(t *testing.T, id, rootfs, text string) {
		var pipe bytes.Buffer
		setup, report := Setup{ID: id, Rootfs: rootfs}, Report{Error: text}
		if err := errors.Join(Send(&pipe, setup), Send(&pipe, report)); err != nil {
			t.Fatal(err)
		}
		var gotSetup Setup
		var gotReport Report
		if err := errors.Join(Receive(&pipe, &gotSetup), Receive(&pipe, &gotReport)); err != nil {
			t.Fatal(err)
		}
		// What is no text becomes one, here as in the bundle's config.json.
		text8 := func(s string) string { return strings.ToValidUTF8(s, "\ufffd") }
		for got, want := range map[string]string{"id " + gotSetup.ID: "id " + id, "rootfs " + gotSetup.Rootfs: "rootfs " + rootfs, "error " + gotReport.Error: "error " + text} {
			if text8(want) == want && got != want {
				t.Errorf("%q was sent, %q received", want, got)
			}
		}
		if pipe.Len() != 0 {
			t.Errorf("%d bytes are left", pipe.Len())
		}
		if (gotReport.Error == "") != (text == "") {
			t.Error("an error became readiness, or the other way round")
		}
	})
}
