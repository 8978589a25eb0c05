package engine

import (
	"cmp"
	"debug/dwarf"
	"slices"
)

// Bounds of what a look-up of source lines may take. It is wazero that looks
// them up, once for each of up to 30 functions on a stack: it goes through all
// entries and the address ranges of some, keeps the lines of whole compilation
// units, and names every inlined function at the place.
const (
	// maxDebugInfo is in bytes: they stay in memory as long as the guest runs.
	maxDebugInfo = 8 << 20
	// debugWork is in entries and attributes of entries.
	debugWork = 4 << 20
	// debugRange is what one range of addresses counts as.
	debugRange = 8
	// debugLine is what one line counts as: wazero takes 160 bytes for it.
	debugLine = 16
	// debugAbbreviations is in bytes: one entry may have half as many attributes.
	debugAbbreviations = 256 << 10
	// debugInlined is how many functions may be inlined at one place.
	debugInlined = 100
	// debugFileName is in bytes.
	debugFileName = 4 << 10
)

// affordable says whether source lines can be looked up in this debug
// information, whoever made it, without taking seconds and hundreds of
// megabytes. It reads what wazero would, once.
func affordable(sections map[string][]byte) bool {
	if len(sections[".debug_abbrev"]) > debugAbbreviations {
		return false
	}
	data, err := dwarf.New(sections[".debug_abbrev"], nil, nil, sections[".debug_info"],
		sections[".debug_line"], nil, sections[".debug_ranges"], sections[".debug_str"])
	if err != nil {
		return false
	}
	work := debugWork
	var inlined []edge
	for entries := data.Reader(); ; {
		entry, err := entries.Next()
		if err != nil || entry == nil {
			break // wazero stops here as well
		}
		work -= 1 + len(entry.Field)
		if entry.Tag == dwarf.TagCompileUnit || entry.Tag == dwarf.TagInlinedSubroutine {
			ranges, _ := data.Ranges(entry)
			work -= debugRange * len(ranges)
			if entry.Tag == dwarf.TagInlinedSubroutine {
				for _, r := range ranges {
					if !removed(r[0]) && !removed(r[1]) {
						inlined = append(inlined, edge{r[0], +1}, edge{r[1], -1})
					}
				}
			}
		}
		if entry.Tag == dwarf.TagCompileUnit {
			work = linesWithin(data, entry, work)
		}
		if work < 0 {
			return false
		}
	}
	return overlap(inlined) <= debugInlined
}

// removed says whether an address is one that linkers write for code that they
// have left out; wazero passes over it.
func removed(address uint64) bool {
	switch int32(address) {
	case 0, -1, -2:
		return true
	}
	return false
}

// linesWithin returns what is left of the work after a compilation unit's lines.
func linesWithin(data *dwarf.Data, unit *dwarf.Entry, work int) int {
	lines, err := data.LineReader(unit)
	if err != nil || lines == nil {
		return work
	}
	var line dwarf.LineEntry
	for work >= 0 && lines.Next(&line) == nil {
		work -= debugLine
	}
	for _, file := range lines.Files() {
		if file != nil && len(file.Name) > debugFileName {
			return -1
		}
	}
	return work
}

// edge is where a range begins or, with -1, ends.
type edge struct {
	at   uint64
	step int
}

// overlap returns how many ranges have one address in common at most.
func overlap(edges []edge) (most int) {
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.step, b.step))
	})
	open := 0
	for _, e := range edges {
		open += e.step
		most = max(most, open)
	}
	return most
}
