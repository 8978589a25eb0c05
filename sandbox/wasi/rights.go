package wasi

// rights are what may be done with a descriptor; the bits are the
// specification's.
type rights uint64

const (
	rightDatasync rights = 1 << iota
	rightRead
	rightSeek // implies rightTell
	rightSetFlags
	rightSync
	rightTell
	rightWrite
	rightAdvise
	rightAllocate
	rightCreateDirectory
	rightCreateFile
	rightLinkSource
	rightLinkTarget
	rightOpen
	rightReaddir
	rightReadlink
	rightRenameSource
	rightRenameTarget
	rightPathFilestat
	rightPathSetSize
	rightPathSetTimes
	rightFilestat
	rightSetSize
	rightSetTimes
	rightSymlink
	rightRemoveDirectory
	rightUnlink
	rightPoll
	rightShutdown
	rightAccept

	allRights = rightAccept<<1 - 1
)

// The rights that apply to each kind of descriptor.
const (
	streamRights = rightRead | rightWrite | rightSetFlags | rightFilestat | rightSetTimes | rightPoll |
		rightSync | rightDatasync
	// A guest knows a terminal by the lack of the rights to seek and to tell.
	terminalRights = streamRights
	// A pipe has them, because programs understand SPIPE.
	pipeRights   = streamRights | rightSeek | rightTell
	socketRights = streamRights | rightShutdown | rightAccept
	fileRights   = pipeRights | rightAdvise | rightAllocate | rightSetSize
	dirRights    = rightSetFlags | rightSync | rightDatasync | rightAdvise | rightReaddir | rightFilestat |
		rightSetTimes | rightPoll | pathRights
	pathRights = rightCreateDirectory | rightCreateFile | rightLinkSource | rightLinkTarget | rightOpen |
		rightReadlink | rightRenameSource | rightRenameTarget | rightPathFilestat | rightPathSetSize |
		rightPathSetTimes | rightSymlink | rightRemoveDirectory | rightUnlink
)

// has says whether every one of the rights is there.
func (r rights) has(wanted rights) bool {
	if r&rightSeek != 0 {
		r |= rightTell
	}
	return r&wanted == wanted
}
