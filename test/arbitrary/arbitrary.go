// Package arbitrary makes values out of what a fuzzer has: bytes. A fuzzer that
// changes the bytes of a JSON text mostly makes something that is no JSON; one that
// changes the value gets to what is behind the decoder.
package arbitrary

import (
	"encoding/binary"
	"reflect"
)

// Change changes the struct to which v points, field by field, as data says; with no
// data it stays as it is. Strings are often one of words, which should be those
// that the code under test looks for.
func Change(v any, data []byte, words ...string) {
	s := &source{data, words}
	for len(s.data) > 0 {
		s.change(reflect.ValueOf(v).Elem())
	}
}

type source struct {
	data  []byte
	words []string
}

// below takes a number below n off the data; 0 at its end.
func (s *source) below(n int) int {
	if len(s.data) == 0 || n == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % n
}

func (s *source) bytes(n int) []byte {
	n = min(n, len(s.data))
	taken := s.data[:n]
	s.data = s.data[n:]
	return taken
}

// number takes one of any size: most limits are near a power of two, or small.
func (s *source) number() uint64 {
	switch s.below(4) {
	case 0:
		return uint64(s.below(256))
	case 1:
		return 1<<s.below(64) - 1
	case 2:
		return 1 << s.below(64)
	default:
		var raw [8]byte
		copy(raw[:], s.bytes(8))
		return binary.LittleEndian.Uint64(raw[:])
	}
}

func (s *source) text() string {
	if len(s.words) > 0 && s.below(4) > 0 {
		return s.words[s.below(len(s.words))]
	}
	return string(s.bytes(s.below(16)))
}

// change changes one thing in v.
func (s *source) change(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.NumField() > 0 {
			s.change(v.Field(s.below(v.NumField())))
		}
	case reflect.Pointer:
		switch {
		case v.IsNil():
			v.Set(reflect.New(v.Type().Elem()))
			s.change(v.Elem())
		case s.below(8) == 0:
			v.SetZero()
		default:
			s.change(v.Elem())
		}
	case reflect.Slice:
		n := v.Len()
		switch choice := s.below(4); {
		case n == 0 || choice == 0:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
			s.change(v.Index(n))
		case choice == 1:
			v.Set(v.Slice(0, n-1))
		default:
			s.change(v.Index(s.below(n)))
		}
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		s.change(key)
		s.change(value)
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(s.text())
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(s.number()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(s.number())
	}
}
