package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const output = `=== RUN   TestOne
--- PASS: TestOne (0.10s)
=== RUN   TestTwo
=== RUN   TestTwo/a
    two_test.go:5: it is broken
--- FAIL: TestTwo (1.00s)
    --- PASS: TestTwo/a (0.50s)
    --- FAIL: TestTwo/b (0.50s)
=== RUN   TestThree
    three_test.go:7: not here
--- SKIP: TestThree (0.00s)
=== RUN   TestFour
    four_test.go:1: fine
--- PASS: TestFour (0.00s)
=== RUN   TestFive
panic: test timed out
`

var (
	some = []row{
		{"one thing", "Create, Start", []string{"TestOne", "TestFour"}},
		{"another", "Kill", []string{"TestOne", "TestTwo"}},
		{"a third", "", []string{"TestThree"}},
		{"a fourth", "", []string{"TestFive"}},
	}
	rendered = `| containerd | calls | 1.2.3 | 4.5.6 |
|---|---|:---:|:---:|
| one thing | Create, Start | ✓ | ✗ |
| another | Kill | ✗ | ✗ |
| a third |  | ✗ | ✗ |
| a fourth |  | ✗ | ✗ |
`
)

func TestFollow(t *testing.T) {
	var shown strings.Builder
	passed, err := follow(&shown, strings.NewReader(output))
	if err != nil {
		t.Fatal(err)
	}
	for test, want := range map[string]bool{"TestOne": true, "TestTwo": false, "TestThree": false, "TestFour": true, "TestFive": false} {
		if passed[test] != want {
			t.Errorf("%s passed: %v", test, passed[test])
		}
	}
	for _, want := range []string{"  TestOne 0.10s\n", "it is broken", "--- FAIL: TestTwo (1.00s)", "panic: test timed out"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("%q is not shown: %s", want, &shown)
		}
	}
	for _, never := range []string{"=== ", "fine"} {
		if strings.Contains(shown.String(), never) {
			t.Errorf("%q is shown: %s", never, &shown)
		}
	}
	c := column{version: "1.2.3", passed: passed}
	if got := render(some, []column{c, {version: "4.5.6"}}); got != rendered {
		t.Errorf("table\n%s\nwant\n%s", got, rendered)
	}
	if err := c.complete(some); err == nil || !strings.Contains(err.Error(), "TestTwo") {
		t.Errorf("complete: %v", err)
	}
	if err := c.complete(some[:1]); err != nil {
		t.Errorf("complete: %v", err)
	}
}

// TestRows looks for each row's tests among the end-to-end tests.
func TestRows(t *testing.T) {
	files, err := filepath.Glob("../e2e/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllSubmatch(data, -1) {
			names = append(names, string(m[1]))
		}
	}
	for _, r := range rows {
		if len(r.tests) == 0 {
			t.Errorf("row %q tests nothing", r.what)
		}
		for _, test := range r.tests {
			if !slices.Contains(names, test) {
				t.Errorf("row %q: there is no %s in test/e2e", r.what, test)
			}
		}
	}
}
