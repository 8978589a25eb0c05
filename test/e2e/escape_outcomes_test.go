package e2e

const wasiOutcomes = `
preopens: 3=/
absolute: PERM
up: PERM
down and up: PERM
with dots: PERM
two slashes: PERM
backslashes: NOENT
up and back is here: ok
a NUL: INVAL
a NUL and up: INVAL
outside of the memory: FAULT
longer than the memory: FAULT
result outside of the memory: FAULT
empty: NOENT
too long: NAMETOOLONG
up from a directory: PERM
up from a directory, further: PERM
dot dot from a directory: PERM
dot dot from the root: PERM
absolute from a directory: PERM
from a file: NOTDIR
dot from a file: NOTDIR
from stdin: NOTDIR | BADF
from nothing: BADF
a file and a slash: NOTDIR
a file as a directory: NOTDIR
stat up: PERM
touch up: PERM
mkdir up: PERM
rmdir up: PERM
rmdir root: BUSY | INVAL | IO
rmdir a mount: BUSY | IO
unlink up: PERM
readlink up: PERM
symlink up: PERM
rename from up: PERM
rename to up: PERM
link from up: PERM
link to up: PERM
symlink to absolute: PERM
libc symlink to absolute: PERM
symlink: ok
through a symlink: NOENT
through a symlink, nofollow: LOOP
through a symlink, nofollow, directory: NOTDIR
through a symlink, slash: NOENT
through a symlink, nofollow, slash: NOENT
through a symlink, dot: NOENT
through a symlink, create: NOENT
through a symlink, create, exclusive: EXIST
through a symlink, create, nofollow: LOOP
through a symlink, truncate: NOENT
stat through a symlink: NOENT
touch through a symlink: NOENT
mkdir on a symlink: EXIST
mkdir on a symlink, slash: EXIST
rmdir a symlink: NOTDIR
rmdir a symlink, slash: NOTDIR
unlink through a symlink, slash: NOTDIR
link a symlink, follow: PERM
through the link of a symlink: NOENT
rename over a symlink: ok
unlink what was a symlink: ok
host's symlink: NOENT
host's symlink, create: NOENT
host's symlink to a directory: NOENT
host's symlink to a directory, create: NOENT
mkdir in host's symlink to a directory: NOENT
rename into host's symlink to a directory: NOENT
libc host's symlink: NOENT
chain of symlinks: NOENT
loop of symlinks: LOOP
parent of a volume: the root
parents of a volume: the root
through parents: NOENT
directory of parents: ok
up from parents: PERM
absolute from parents: NOENT
up from a moved directory: PERM
in a directory that became a symlink: NOENT
readdir at wrong cookies: ok
readdir of a file: NOTDIR | BADF
read a directory: ISDIR
buffer outside of the memory: FAULT
proc/self/root: LOOP
proc/self/root/up: nothing
proc/self/cwd: LOOP
proc/self/cwd/up: nothing
proc/1/root: LOOP
proc/1/root/up: nothing
proc/1/cwd: LOOP
proc/1/cwd/up: nothing
proc/thread-self/root: NOENT
proc/thread-self/root/up: nothing
proc/self/task/1/root: NOENT
proc/self/task/1/root/up: nothing
proc/self/root and up: LOOP
write proc/self/exe: LOOP
truncate proc/self/exe: LOOP
touch proc/self/exe: LOOP
touch an open proc/self/exe: ACCES
link proc/self/exe: NOENT
mapped files that open: 0 of some
descriptors that open for writing: 0
write proc/sysrq-trigger: NOENT | ROFS
write core_pattern: ROFS
write hotplug's helper: NOENT | ROFS
make in cgroups: NOENT | ROFS
make in proc: NOENT | ROFS
ro: read: ok
ro: write: ROFS
ro: append: ROFS
ro: truncate: ROFS
ro: create: ROFS
ro: mkdir: ROFS
ro: rmdir: ROFS
ro: unlink: ROFS
ro: symlink: ROFS
ro: rename: ROFS
ro: touch: ROFS
ro: link: ROFS
ro: link to rw: XDEV
ro: rename to rw: XDEV
ro: rename from rw: XDEV
ro: write through a symlink of rw: ROFS
ro: write through proc/self/root: LOOP
ro: write what is open: NOTCAPABLE
ro: cut what is open: INVAL
ro: allocate what is open: NOTCAPABLE
ro: touch what is open: ROFS
ro: create in an open directory: ROFS
ro: descriptors that open for writing: 0
libc ro: write: ROFS
rename to another mount: XDEV
link to another mount: XDEV
own memory: 0
through descriptors: 0
renumber nothing: BADF
renumber over nothing: BADF
renumber over stdin: ok
through a renumbered file: NOTDIR
the preopen is the root: yes
renumber the preopen: ok
from where the preopen was: BADF
from where it is: ok
up from there: PERM
`

const goOutcomes = `
working directory: ok
absolute: No such file or directory
up: No such file or directory
up from a volume: No such file or directory
write absolute: No such file or directory
remove absolute: No such file or directory
remove up: No such file or directory
remove all up: ok
symlink: ok
through a symlink: No such file or directory
write through a symlink: No such file or directory
touch through a symlink: No such file or directory
truncate through a symlink: No such file or directory
rename to up: No such file or directory
rename from up: No such file or directory
link from up: No such file or directory
mkdir up: No such file or directory
change to up: No such file or directory
change to root and up: No such file or directory
host's symlink: No such file or directory
host's symlink to a directory: No such file or directory
write through host's symlink: No such file or directory
list host's symlink to a directory: No such file or directory
ro: read: ok
ro: write: Read-only file system
ro: create: Read-only file system
ro: remove: Read-only file system
ro: touch: Read-only file system
remove the symlink: ok
`
