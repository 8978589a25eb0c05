package options

import (
	"fmt"
	"time"

	"github.com/docker/go-units"
)

// Size is a number of bytes, written with a unit: "512MiB", "2GB".
type Size int64

// UnmarshalText reads a size of one byte or more.
func (s *Size) UnmarshalText(text []byte) error {
	n, err := units.RAMInBytes(string(text))
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a size, such as \"512MiB\"", text)
	}
	*s = Size(n)
	return nil
}

// Duration is written with its units: "90s", "1m30s".
type Duration time.Duration

// UnmarshalText reads a duration of more than nothing.
func (d *Duration) UnmarshalText(text []byte) error {
	n, err := time.ParseDuration(string(text))
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a duration, such as \"90s\"", text)
	}
	*d = Duration(n)
	return nil
}
