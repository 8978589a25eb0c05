package main

import (
	"fmt"
	"strings"
)

// render makes the table, in Markdown.
func render(rows []row, columns []column) string {
	var b strings.Builder
	b.WriteString("| containerd | calls |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.version)
	}
	b.WriteString("\n|---|---|" + strings.Repeat(":---:|", len(columns)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |", r.what, r.calls)
		for _, c := range columns {
			mark := "✓"
			if c.complete([]row{r}) != nil {
				mark = "✗"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		b.WriteString("\n")
	}
	return b.String()
}
