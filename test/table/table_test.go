package table

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeep(t *testing.T) {
	const begin, end, table, update = "<!-- some:begin -->\n", "<!-- some:end -->\n", "| new |\n", "make it"
	file := filepath.Join(t.TempDir(), "README.md")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("before\n" + begin + "| old |\n" + end + "after\n")
	if err := Keep(file, "some", table, false, update); err == nil || !strings.Contains(err.Error(), update) {
		t.Errorf("another table is there: %v", err)
	}
	if err := Keep(file, "some", table, true, update); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file)
	if want := "before\n" + begin + table + end + "after\n"; err != nil || string(got) != want {
		t.Fatalf("%v, written %q, want %q", err, got, want)
	}
	if err := Keep(file, "some", table, false, update); err != nil {
		t.Errorf("the same table is there: %v", err)
	}
	for _, text := range []string{"", begin, end + begin, "no markers\n", strings.ReplaceAll(begin+end, "some", "other")} {
		put(text)
		if err := Keep(file, "some", table, true, update); err == nil {
			t.Errorf("%q was changed", text)
		}
	}
}
