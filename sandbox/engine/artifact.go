package engine

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// An artifact is what is left of a module once it is compiled, in a file: an
// index, and behind it pieces that begin at pages and are mapped, not read, by
// each process that runs the module. All of them share the pages.
//
// Either it has code, and then the stub of the module, an entry of wazero's cache
// for it, the first content of the memory and the debug information. Or it has
// the original, where this engine cannot keep code.

// artifactMagic begins an artifact; its number changes with the layout, and with
// what Compile refuses, because a start from an artifact does not ask again.
const artifactMagic = "wasmart1"

// maxIndex bounds an index, in bytes.
const maxIndex = 1 << 20

// piece is a part of the file, counted from where the artifact begins.
type piece struct {
	Offset int64 `json:"o"`
	Size   int64 `json:"s"`
}

type index struct {
	Settings string           `json:"settings"`
	Module   piece            `json:"module"` // the stub or the original
	Entry    piece            `json:"entry"`  // of wazero's cache
	Code     piece            `json:"code"`   // empty where there is the original
	Lines    [2]piece         `json:"lines"`  // offsets in the module's code section and in Code
	Image    []imagePiece     `json:"image,omitempty"`
	Debug    map[string]piece `json:"debug,omitempty"`
	Entries  piece            `json:"entries"` // as JSON
}

type imagePiece struct {
	At    uint64 `json:"at"`
	Piece piece  `json:"piece"`
}

// Settings names whatever decides what an artifact is like beside the module:
// engine, features, CPU and page size. An artifact is only for processes with
// the same settings.
func Settings() string {
	var features []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"sse4.1", cpu.X86.HasSSE41}, {"bmi1", cpu.X86.HasBMI1}, {"bmi2", cpu.X86.HasBMI2},
		{"popcnt", cpu.X86.HasPOPCNT}, {"atomics", cpu.ARM64.HasATOMICS},
	} {
		if f.has {
			features = append(features, f.name)
		}
	}
	return fmt.Sprintf("%s wazero %s features %#x debug %d %s [%s] page %d", artifactMagic, wazeroVersion,
		uint64(coreFeatures()), maxDebugInfo, runtime.GOARCH, strings.Join(features, " "), os.Getpagesize())
}

// write writes the artifact from the file's offset on and returns its size and
// its SHA-256 digest.
func (c *compiled) write(file *os.File, offset int64) (size int64, sum [sha256.Size]byte, err error) {
	page := int64(os.Getpagesize())
	var ix index
	var pieces [][]byte
	// The index is as long as the offsets in it need, and those depend on its
	// length: they are counted from the first page behind it.
	var end int64
	put := func(b []byte) piece {
		p := piece{end, int64(len(b))}
		if len(b) > 0 {
			pieces = append(pieces, b)
			end += (int64(len(b)) + page - 1) &^ (page - 1)
		}
		return p
	}
	ix.Settings = Settings()
	ix.Module, ix.Entry, ix.Code = put(c.module), put(c.native.entry), put(c.native.code)
	ix.Lines = [2]piece{put(asBytes(c.native.binaryOffsets)), put(asBytes(c.native.codeOffsets))}
	for _, e := range c.image {
		ix.Image = append(ix.Image, imagePiece{e.at, put(e.bytes)})
	}
	for name, section := range c.debug {
		if ix.Debug == nil {
			ix.Debug = map[string]piece{}
		}
		ix.Debug[name] = put(section)
	}
	exported, err := json.Marshal(c.entries)
	if err != nil {
		return 0, sum, err
	}
	ix.Entries = put(exported)
	head, err := json.Marshal(ix)
	if err != nil {
		return 0, sum, err
	}
	if len(head) > maxIndex {
		return 0, sum, fmt.Errorf("index of %d bytes", len(head))
	}
	hash := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(io.NewOffsetWriter(file, offset), hash), 1<<16)
	head = slices.Concat([]byte(artifactMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head)
	for _, b := range slices.Concat([][]byte{head}, pieces) {
		padding := -len(b) & int(page-1)
		// An error stays with the writer until the end.
		_, _ = out.Write(b)
		_, _ = out.Write(make([]byte, padding))
		size += int64(len(b) + padding)
	}
	if err := out.Flush(); err != nil {
		return 0, sum, err
	}
	return size, [sha256.Size]byte(hash.Sum(nil)), nil
}

// openArtifact maps an artifact. What it returns lives as long as the process;
// the file may be closed once the image is mapped.
func openArtifact(file *os.File, offset int64) (*compiled, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	start := int64(len(artifactMagic) + 4)
	if info.Size()-offset < start {
		return nil, errors.New("is cut off")
	}
	all, err := unix.Mmap(int(file.Fd()), offset, int(info.Size()-offset), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("cannot be mapped: %w", err)
	}
	size := int64(binary.LittleEndian.Uint32(all[start-4:]))
	if string(all[:len(artifactMagic)]) != artifactMagic || size > maxIndex || start+size > int64(len(all)) {
		return nil, errors.New("is of another kind")
	}
	var ix index
	if err := json.Unmarshal(all[start:start+size], &ix); err != nil {
		return nil, err
	}
	if ix.Settings != Settings() {
		return nil, fmt.Errorf("was made with other settings: %q, not %q", ix.Settings, Settings())
	}
	page := int64(os.Getpagesize())
	begin := (start + size + page - 1) &^ (page - 1)
	c := &compiled{file: file}
	get := func(p piece) []byte {
		if p.Offset < 0 || p.Size < 0 || p.Offset > int64(len(all))-begin || p.Size > int64(len(all))-begin-p.Offset {
			err = errors.New("is cut off")
			return nil
		}
		return all[begin+p.Offset : begin+p.Offset+p.Size]
	}
	c.module = get(ix.Module)
	c.native = native{
		entry: get(ix.Entry), code: get(ix.Code),
		binaryOffsets: asNumbers(get(ix.Lines[0])), codeOffsets: asNumbers(get(ix.Lines[1])),
	}
	for _, i := range ix.Image {
		c.image = append(c.image, extent{i.At, get(i.Piece), offset + begin + i.Piece.Offset})
	}
	c.debug = map[string][]byte{}
	for name, p := range ix.Debug {
		c.debug[name] = get(p)
	}
	exported := get(ix.Entries)
	if err == nil {
		err = json.Unmarshal(exported, &c.entries)
	}
	if err == nil && c.hasCode() {
		err = c.makeExecutable(offset + begin + ix.Code.Offset)
	}
	return c, err
}

// makeExecutable maps the code, which begins at that offset of the file, so that
// it can be executed: a copy of its own where the file system with the file is
// mounted noexec.
func (c *compiled) makeExecutable(offset int64) error {
	const readAndExecute = unix.PROT_READ | unix.PROT_EXEC
	size := len(c.native.code)
	code, err := unix.Mmap(int(c.file.Fd()), offset, size, readAndExecute, unix.MAP_PRIVATE)
	if err == nil {
		c.native.code, c.shared = code, true
		return nil
	}
	if err != unix.EPERM && err != unix.EACCES {
		return fmt.Errorf("cannot be mapped: %w", err)
	}
	if code, err = unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err == nil {
		copy(code, c.native.code)
		err = unix.Mprotect(code, readAndExecute)
	}
	if err != nil {
		return fmt.Errorf("has code that cannot be made executable: %w", err)
	}
	c.native.code = code
	return nil
}

// asBytes and asNumbers are the same memory in the other type. Artifacts stay on
// the machine that made them, whose order of bytes they have.
func asBytes(numbers []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(numbers))), 8*len(numbers))
}

func asNumbers(b []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/8)
}
