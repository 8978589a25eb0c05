// Tries to get at files that are not the container's, and prints what came of
// each attempt: its name and a WASI errno, "ok", or what was found.
//
// The calls are WASI's own, so that no C library looks at a path before the
// runtime does; those named "libc ..." go by wasi-libc as programs do.
//
//	escape attempts TREASURE   TREASURE is the host's path of a file
//	escape open PATH...        opens each, for reading and for writing
//	escape mem                 looks for the memory of its own process
//	escape output              reads and empties the file of its output
//	escape swap DIR            for ever exchanges DIR/d and DIR/other
//	escape probe DIR SECRET    reads below what somebody exchanges
//
// The tests' files are in /vol, which is a volume, and in /ro, which is
// another that is mounted read-only.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasi/api.h>

typedef __wasi_errno_t err;

enum { root = 3 }; // the only preopened directory
enum { follow = __WASI_LOOKUPFLAGS_SYMLINK_FOLLOW };
enum { create = __WASI_OFLAGS_CREAT, directory = __WASI_OFLAGS_DIRECTORY, exclusive = __WASI_OFLAGS_EXCL, truncated = __WASI_OFLAGS_TRUNC };
#define READ __WASI_RIGHTS_FD_READ
#define WRITE __WASI_RIGHTS_FD_WRITE
// Every right, and every one but those to write.
#define ALL ((__wasi_rights_t)0x3fffffff)
#define READING (ALL & ~(WRITE | __WASI_RIGHTS_FD_ALLOCATE))

static const char *treasure; // on the host, absolute
static char up[1200];        // the same as "../../../../.." leads to it

static const char *name_of(err e) {
	static const char *names[] = {
	    "ok", "2BIG", "ACCES", "ADDRINUSE", "ADDRNOTAVAIL", "AFNOSUPPORT", "AGAIN", "ALREADY", "BADF", "BADMSG",
	    "BUSY", "CANCELED", "CHILD", "CONNABORTED", "CONNREFUSED", "CONNRESET", "DEADLK", "DESTADDRREQ", "DOM", "DQUOT",
	    "EXIST", "FAULT", "FBIG", "HOSTUNREACH", "IDRM", "ILSEQ", "INPROGRESS", "INTR", "INVAL", "IO",
	    "ISCONN", "ISDIR", "LOOP", "MFILE", "MLINK", "MSGSIZE", "MULTIHOP", "NAMETOOLONG", "NETDOWN", "NETRESET",
	    "NETUNREACH", "NFILE", "NOBUFS", "NODEV", "NOENT", "NOEXEC", "NOLCK", "NOLINK", "NOMEM", "NOMSG",
	    "NOPROTOOPT", "NOSPC", "NOSYS", "NOTCONN", "NOTDIR", "NOTEMPTY", "NOTRECOVERABLE", "NOTSOCK", "NOTSUP", "NOTTY",
	    "NXIO", "OVERFLOW", "OWNERDEAD", "PERM", "PIPE", "PROTO", "PROTONOSUPPORT", "PROTOTYPE", "RANGE", "ROFS",
	    "SPIPE", "SRCH", "STALE", "TIMEDOUT", "TXTBSY", "XDEV", "NOTCAPABLE"};
	return e < sizeof names / sizeof *names ? names[e] : "?";
}

static void say(const char *attempt, const char *outcome) { printf("%s: %s\n", attempt, outcome); }
static void told(const char *attempt, err e) { say(attempt, name_of(e)); }
static void libc(const char *attempt, int result) { told(attempt, result < 0 ? (err)errno : 0); }

// ---- WASI's functions, shorter ----

// The header's takes no length.
int32_t open_raw(int32_t dir, int32_t lookup, const char *path, size_t length, int32_t oflags, int64_t rights, int64_t inheriting, int32_t flags, __wasi_fd_t *fd)
    __attribute__((import_module("wasi_snapshot_preview1"), import_name("path_open")));

static err open_at(int dir, int lookup, const char *path, int oflags, __wasi_rights_t rights, __wasi_fd_t *fd) {
	return __wasi_path_open(dir, lookup, path, oflags, rights, rights, 0, fd);
}

// opens says what opening leads to, and leaves nothing open.
static err opens(int lookup, const char *path, int oflags, __wasi_rights_t rights) {
	__wasi_fd_t fd;
	err e = open_at(root, lookup, path, oflags, rights, &fd);
	if (!e)
		__wasi_fd_close(fd);
	return e;
}

static err reads(const char *path) { return opens(follow, path, 0, READ); }
static err writes(const char *path) { return opens(follow, path, 0, READ | WRITE); }
static err links_to(const char *target, const char *path) { return __wasi_path_symlink(target, root, path); }
static err touches(int lookup, const char *path) {
	return __wasi_path_filestat_set_times(root, lookup, path, 1, 1, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM);
}
static err stats(int lookup, const char *path, __wasi_filestat_t *st) { return __wasi_path_filestat_get(root, lookup, path, st); }
static err removes(const char *path) { return __wasi_path_unlink_file(root, path); }

static int same(const char *a, const char *b) {
	__wasi_filestat_t x, y;
	return !stats(follow, a, &x) && !stats(follow, b, &y) && x.dev == y.dev && x.ino == y.ino;
}

static int opened(const char *path, int oflags, __wasi_rights_t rights) {
	__wasi_fd_t fd;
	return open_at(root, follow, path, oflags, rights, &fd) ? -1 : (int)fd;
}

// ---- the attempts ----

static void preopens(void) {
	char line[256] = "";
	__wasi_prestat_t p;
	for (int fd = 3; fd < 64; fd++) {
		char dir[64] = "";
		if (__wasi_fd_prestat_get(fd, &p) || p.u.dir.pr_name_len >= sizeof dir)
			continue;
		if (__wasi_fd_prestat_dir_name(fd, (uint8_t *)dir, p.u.dir.pr_name_len))
			continue;
		snprintf(line + strlen(line), sizeof line - strlen(line), "%s%d=%.*s", *line ? " " : "", fd, (int)p.u.dir.pr_name_len, dir);
	}
	say("preopens", line);
}

static void paths(void) {
	char path[2000], long_path[6000];
	__wasi_fd_t fd;
	told("absolute", reads(treasure));
	told("up", reads(up));
	snprintf(path, sizeof path, "vol/%s", up);
	told("down and up", reads(path));
	snprintf(path, sizeof path, "vol/./dir/.././../%s", up);
	told("with dots", reads(path));
	snprintf(path, sizeof path, "//%s", treasure);
	told("two slashes", reads(path));
	told("backslashes", reads("vol\\..\\..\\treasure"));
	told("up and back is here", reads("vol/dir/../file"));
	told("a NUL", open_raw(root, follow, "vol/file\0x", 10, 0, READ, READ, 0, &fd));
	told("a NUL and up", open_raw(root, follow, "vol\0/../..", 10, 0, READ, READ, 0, &fd));
	told("outside of the memory", open_raw(root, follow, (char *)0xfffffff0, 8, 0, READ, READ, 0, &fd));
	told("longer than the memory", open_raw(root, follow, "vol/file", -1, 0, READ, READ, 0, &fd));
	told("result outside of the memory", open_raw(root, follow, "vol/file", 8, 0, READ, READ, 0, (__wasi_fd_t *)0xfffffff0));
	told("empty", reads(""));
	memset(long_path, 'a', sizeof long_path - 1);
	long_path[sizeof long_path - 1] = 0;
	told("too long", reads(long_path));

	int dir = opened("vol", directory, ALL), file = opened("vol/file", 0, READING);
	told("up from a directory", open_at(dir, follow, "../treasure", 0, READ, &fd));
	told("up from a directory, further", open_at(dir, follow, up, 0, READ, &fd));
	told("dot dot from a directory", open_at(dir, follow, "..", directory, READ, &fd));
	told("dot dot from the root", open_at(root, follow, "..", directory, READ, &fd));
	told("absolute from a directory", open_at(dir, follow, "/vol/file", 0, READ, &fd));
	told("from a file", open_at(file, follow, "x", 0, READ, &fd));
	told("dot from a file", open_at(file, follow, ".", 0, READ, &fd));
	told("from stdin", open_at(0, follow, "vol/file", 0, READ, &fd));
	told("from nothing", open_at(1000, follow, "vol/file", 0, READ, &fd));
	told("a file and a slash", reads("vol/file/"));
	told("a file as a directory", opens(follow, "vol/file", directory, READ));

	told("stat up", __wasi_path_filestat_get(root, follow, up, &(__wasi_filestat_t){0}));
	told("touch up", touches(follow, up));
	told("mkdir up", __wasi_path_create_directory(root, "../made"));
	told("rmdir up", __wasi_path_remove_directory(dir, "../treasure"));
	told("rmdir root", __wasi_path_remove_directory(root, "."));
	told("rmdir a mount", __wasi_path_remove_directory(root, "vol"));
	told("unlink up", __wasi_path_unlink_file(dir, up));
	told("readlink up", __wasi_path_readlink(root, up, (uint8_t *)path, sizeof path, &(__wasi_size_t){0}));
	told("symlink up", links_to("x", "../made"));
	told("rename from up", __wasi_path_rename(root, up, root, "vol/stolen"));
	told("rename to up", __wasi_path_rename(root, "vol/file", root, up));
	told("link from up", __wasi_path_link(root, follow, up, root, "vol/stolen"));
	told("link to up", __wasi_path_link(root, 0, "vol/file", root, up));
	__wasi_fd_close(dir);
	__wasi_fd_close(file);
}

static void symlinks(void) {
	char path[2000], text[2000];
	__wasi_fd_t fd;
	__wasi_filestat_t st;
	told("symlink to absolute", links_to(treasure, "vol/absolute"));
	errno = 0;
	libc("libc symlink to absolute", symlink(treasure, "/vol/absolute"));
	told("symlink", links_to(up, "vol/link"));
	told("through a symlink", reads("vol/link"));
	told("through a symlink, nofollow", opens(0, "vol/link", 0, READ));
	told("through a symlink, nofollow, directory", opens(0, "vol/link", directory, READ));
	told("through a symlink, slash", reads("vol/link/"));
	told("through a symlink, nofollow, slash", opens(0, "vol/link/", 0, READ));
	told("through a symlink, dot", reads("vol/link/."));
	told("through a symlink, create", opens(follow, "vol/link", create, READ | WRITE));
	told("through a symlink, create, exclusive", opens(follow, "vol/link", create | exclusive, READ | WRITE));
	told("through a symlink, create, nofollow", opens(0, "vol/link", create, READ | WRITE));
	told("through a symlink, truncate", opens(follow, "vol/link", truncated, READ | WRITE));
	told("stat through a symlink", stats(follow, "vol/link", &st));
	told("touch through a symlink", touches(follow, "vol/link"));
	told("mkdir on a symlink", __wasi_path_create_directory(root, "vol/link"));
	told("mkdir on a symlink, slash", __wasi_path_create_directory(root, "vol/link/"));
	told("rmdir a symlink", __wasi_path_remove_directory(root, "vol/link"));
	told("rmdir a symlink, slash", __wasi_path_remove_directory(root, "vol/link/"));
	told("unlink through a symlink, slash", removes("vol/link/"));
	told("link a symlink, follow", __wasi_path_link(root, follow, "vol/link", root, "vol/linked"));
	told("through the link of a symlink", reads("vol/linked"));
	told("rename over a symlink", (err)(opens(follow, "vol/new", create, READ | WRITE) || __wasi_path_rename(root, "vol/new", root, "vol/link")));
	told("unlink what was a symlink", removes("vol/link"));

	// A symlink that the host made.
	told("host's symlink", reads("vol/host-link"));
	told("host's symlink, create", opens(follow, "vol/host-link", create, READ | WRITE));
	told("host's symlink to a directory", reads("vol/host-dir/treasure"));
	told("host's symlink to a directory, create", opens(follow, "vol/host-dir/made", create, READ | WRITE));
	told("mkdir in host's symlink to a directory", __wasi_path_create_directory(root, "vol/host-dir/made"));
	told("rename into host's symlink to a directory", __wasi_path_rename(root, "vol/file", root, "vol/host-dir/file"));
	told("libc host's symlink", (err)(open("/vol/host-link", O_RDONLY) < 0 ? errno : 0));

	// A chain, a loop, and the way up by symlinks alone.
	links_to("chain2", "vol/chain1");
	links_to("dir/../chain3", "vol/chain2");
	links_to(up, "vol/chain3");
	told("chain of symlinks", reads("vol/chain1"));
	links_to("loop2", "vol/loop1");
	links_to("loop1", "vol/loop2");
	told("loop of symlinks", reads("vol/loop1"));
	links_to("..", "vol/parent");
	links_to("parent/../../../..", "vol/parents");
	say("parent of a volume", same("vol/parent", ".") ? "the root" : "elsewhere");
	say("parents of a volume", same("vol/parents", ".") ? "the root" : "elsewhere");
	snprintf(path, sizeof path, "vol/parents%s", treasure);
	told("through parents", reads(path));
	told("directory of parents", open_at(root, follow, "vol/parents", directory, ALL, &fd));
	told("up from parents", open_at(fd, follow, up, 0, READ, &(__wasi_fd_t){0}));
	told("absolute from parents", open_at(fd, follow, treasure + 1, 0, READ, &(__wasi_fd_t){0}));
	__wasi_fd_close(fd);

	// wazero's and others' way: a directory that is moved once it is open.
	snprintf(text, sizeof text, "%s", up);
	__wasi_path_create_directory(root, "vol/moved");
	__wasi_path_create_directory(root, "vol/moved/in");
	int in = opened("vol/moved/in", directory, ALL);
	__wasi_path_rename(root, "vol/moved", root, "vol/away");
	links_to(text, "vol/moved");
	told("up from a moved directory", open_at(in, follow, "../../../../treasure", 0, READ, &fd));
	told("in a directory that became a symlink", open_at(in, follow, "x", 0, READ, &fd));
	__wasi_fd_close(in);
	const char *gone[] = {"chain1", "chain2", "chain3", "loop1", "loop2", "parent", "parents", "linked", "moved"};
	for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
		snprintf(path, sizeof path, "vol/%s", gone[i]);
		removes(path);
	}
	__wasi_path_remove_directory(root, "vol/away/in");
	__wasi_path_remove_directory(root, "vol/away");
}

// reopened counts the descriptors below /proc that open for writing, beside the
// standard streams. What a guest calls 4 may be 9 to the kernel.
static void reopened(const char *attempt) {
	char path[64], line[64];
	int n = 0;
	for (int i = 3; i < 64; i++) {
		snprintf(path, sizeof path, "proc/self/fd/%d", i);
		__wasi_filestat_t st;
		// Reading or writing these would block for ever.
		if (stats(follow, path, &st) || st.filetype != __WASI_FILETYPE_REGULAR_FILE)
			continue;
		n += !writes(path) || !opens(follow, path, truncated, WRITE);
	}
	snprintf(line, sizeof line, "%d", n);
	say(attempt, line);
}

static void descriptors(void) {
	char path[2000], line[64];
	int n = 0;
	for (int i = 0; i < 64; i++) {
		snprintf(path, sizeof path, "proc/self/fd/%d%s", i, treasure);
		n += !reads(path);
		snprintf(path, sizeof path, "proc/self/fd/%d/%s", i, up);
		n += !reads(path);
		snprintf(path, sizeof path, "proc/self/fd/%d/../../../../../..%s", i, treasure);
		n += !reads(path);
	}
	snprintf(line, sizeof line, "%d", n);
	say("through descriptors", line);

	told("renumber nothing", __wasi_fd_renumber(1000, 1001));
	told("renumber over nothing", __wasi_fd_renumber(0, 1001));
	int file = opened("vol/file", 0, READING);
	told("renumber over stdin", __wasi_fd_renumber(file, 0));
	told("through a renumbered file", open_at(0, follow, "vol/file", 0, READ, &(__wasi_fd_t){0}));
	say("the preopen is the root", same(".", "vol/..") ? "yes" : "no");
	told("renumber the preopen", __wasi_fd_renumber(root, 0));
	told("from where the preopen was", open_at(root, follow, "vol/file", 0, READ, &(__wasi_fd_t){0}));
	told("from where it is", open_at(0, follow, "vol/file", 0, READ, &(__wasi_fd_t){0}));
	told("up from there", open_at(0, follow, up, 0, READ, &(__wasi_fd_t){0}));
}

// map_files counts what can be opened of the files that the process has mapped.
static void map_files(void) {
	char path[600], line[64];
	int entries = 0, n = 0;
	DIR *dir = opendir("/proc/self/map_files");
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (*e->d_name == '.')
			continue;
		entries++;
		snprintf(path, sizeof path, "proc/self/map_files/%s", e->d_name);
		n += !reads(path);
	}
	if (dir)
		closedir(dir);
	snprintf(line, sizeof line, "%d of %s", n, entries ? "some" : "none");
	say("mapped files that open", line);
}

static void magic(void) {
	char path[2000];
	const char *links[] = {"proc/self/root", "proc/self/cwd", "proc/1/root", "proc/1/cwd", "proc/thread-self/root", "proc/self/task/1/root"};
	for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
		snprintf(path, sizeof path, "%s%s", links[i], treasure);
		told(links[i], reads(path));
		snprintf(path, sizeof path, "%s/up", links[i]);
		say(path, same(links[i], ".") ? "the root" : "nothing");
	}
	snprintf(path, sizeof path, "proc/self/root/%s", up);
	told("proc/self/root and up", reads(path));
	told("write proc/self/exe", writes("proc/self/exe"));
	told("truncate proc/self/exe", opens(follow, "proc/self/exe", truncated, WRITE));
	told("touch proc/self/exe", touches(follow, "proc/self/exe"));
	int exe = opened("proc/self/exe", 0, READING);
	told("touch an open proc/self/exe", exe < 0 ? (err)__WASI_ERRNO_ACCES : __wasi_fd_filestat_set_times(exe, 1, 1, __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM));
	told("link proc/self/exe", __wasi_path_link(root, follow, "proc/self/exe", root, "vol/exe"));
	map_files();
	reopened("descriptors that open for writing");

	told("write proc/sysrq-trigger", opens(follow, "proc/sysrq-trigger", 0, WRITE));
	told("write core_pattern", opens(follow, "proc/sys/kernel/core_pattern", 0, WRITE));
	told("write hotplug's helper", opens(follow, "sys/kernel/uevent_helper", create, WRITE));
	told("make in cgroups", __wasi_path_create_directory(root, "sys/fs/cgroup/made"));
	told("make in proc", opens(follow, "proc/made", create, WRITE));
}

static void directories(void) {
	uint8_t buffer[4096];
	__wasi_size_t n;
	int dir = opened("vol", directory, ALL), file = opened("vol/file", 0, READING);
	err e = 0;
	const __wasi_dircookie_t cookies[] = {1ull << 40, 1ull << 63, -1ull, -2ull};
	for (size_t i = 0; i < sizeof cookies / sizeof *cookies; i++) {
		// What an entry is behind is the file system's business.
		err this = __wasi_fd_readdir(dir, buffer, sizeof buffer, cookies[i], &n);
		if (this && this != __WASI_ERRNO_INVAL)
			e = this;
	}
	told("readdir at wrong cookies", e);
	told("readdir of a file", __wasi_fd_readdir(file, buffer, sizeof buffer, 0, &n));
	told("read a directory", __wasi_fd_read(dir, &(__wasi_iovec_t){buffer, sizeof buffer}, 1, &n));
	told("buffer outside of the memory", __wasi_fd_readdir(dir, (uint8_t *)0xfffffff0, 4096, 0, &n));
	__wasi_fd_close(dir);
	__wasi_fd_close(file);
}

static void readonly(void) {
	__wasi_size_t n;
	told("ro: read", reads("ro/file"));
	told("ro: write", writes("ro/file"));
	told("ro: append", __wasi_path_open(root, follow, "ro/file", 0, WRITE, WRITE, __WASI_FDFLAGS_APPEND, &(__wasi_fd_t){0}));
	told("ro: truncate", opens(follow, "ro/file", truncated, READ));
	told("ro: create", opens(follow, "ro/new", create, WRITE));
	told("ro: mkdir", __wasi_path_create_directory(root, "ro/new"));
	told("ro: rmdir", __wasi_path_remove_directory(root, "ro/dir"));
	told("ro: unlink", removes("ro/file"));
	told("ro: symlink", links_to("file", "ro/new"));
	told("ro: rename", __wasi_path_rename(root, "ro/file", root, "ro/new"));
	told("ro: touch", touches(follow, "ro/file"));
	told("ro: link", __wasi_path_link(root, 0, "ro/file", root, "ro/new"));
	// Both volumes are of one file system.
	told("ro: link to rw", __wasi_path_link(root, 0, "ro/file", root, "vol/new"));
	told("ro: rename to rw", __wasi_path_rename(root, "ro/file", root, "vol/new"));
	told("ro: rename from rw", __wasi_path_rename(root, "vol/file", root, "ro/file"));
	links_to("../ro/file", "vol/to-ro");
	told("ro: write through a symlink of rw", writes("vol/to-ro"));
	removes("vol/to-ro");
	told("ro: write through proc/self/root", writes("proc/self/root/ro/file"));
	int fd = opened("ro/file", 0, READING), dir = opened("ro", directory, ALL);
	told("ro: write what is open", __wasi_fd_write(fd, &(__wasi_ciovec_t){(const uint8_t *)"x", 1}, 1, &n));
	told("ro: cut what is open", __wasi_fd_filestat_set_size(fd, 0));
	told("ro: allocate what is open", __wasi_fd_allocate(fd, 0, 100));
	told("ro: touch what is open", __wasi_fd_filestat_set_times(fd, 1, 1, __WASI_FSTFLAGS_MTIM));
	told("ro: create in an open directory", open_at(dir, follow, "new", create, WRITE, &(__wasi_fd_t){0}));
	reopened("ro: descriptors that open for writing");
	__wasi_fd_close(fd);
	__wasi_fd_close(dir);
	errno = 0;
	libc("libc ro: write", open("/ro/file", O_WRONLY));
	told("rename to another mount", __wasi_path_rename(root, "vol/file", root, "file"));
	told("link to another mount", __wasi_path_link(root, 0, "vol/file", root, "file"));
}

// look_for_memory counts the ways to write to this process's own memory, which
// the kernel has under the number of each thread.
static void look_for_memory(void) {
	char path[64], line[64];
	int n = 0;
	for (int i = -2; i < 64; i++) {
		__wasi_filestat_t st;
		if (i < 0)
			snprintf(path, sizeof path, "proc/%s/mem", i == -2 ? "self" : "thread-self");
		else
			snprintf(path, sizeof path, "proc/%d/mem", i);
		// What is covered is the null device.
		if (!writes(path) && !stats(follow, path, &st) && st.filetype == __WASI_FILETYPE_REGULAR_FILE)
			printf("%s is open\n", path), n++;
	}
	snprintf(line, sizeof line, "%d", n);
	say("own memory", line);
}

// ---- other verbs ----

// reopen_output tries to read, to cut and to overwrite what the standard output
// goes to. A pipe is left alone: to read from it would block for ever.
static void reopen_output(void) {
	char text[64];
	__wasi_size_t n = 0;
	__wasi_filestat_t st;
	fprintf(stderr, "after\n");
	if (!stats(follow, "proc/self/fd/1", &st) && st.filetype != __WASI_FILETYPE_REGULAR_FILE)
		return;
	__wasi_fd_fdstat_set_flags(1, 0);
	__wasi_fd_pwrite(1, &(__wasi_ciovec_t){(const uint8_t *)"X", 1}, 1, 0, &n);
	__wasi_fd_filestat_set_size(1, 3);
	int fd = opened("proc/self/fd/1", 0, READ);
	if (fd >= 0 && !__wasi_fd_read(fd, &(__wasi_iovec_t){(uint8_t *)text, sizeof text}, 1, &n) && n)
		fprintf(stderr, "read %u bytes\n", (unsigned)n);
	if (!opens(follow, "proc/self/fd/1", truncated, WRITE))
		fprintf(stderr, "emptied\n");
}

static void open_all(char **names) {
	for (; *names; names++) {
		char line[64], *path = *names + (**names == '/');
		snprintf(line, sizeof line, "%s %s", name_of(opens(follow, path, 0, READ)), name_of(opens(follow, path, 0, WRITE)));
		say(*names, line);
	}
}

// swap_for_ever makes one name a directory, then a symlink, then a directory.
static int swap_for_ever(const char *dir) {
	char d[300], other[300], spare[300];
	snprintf(d, sizeof d, "%s/d", dir + 1);
	snprintf(other, sizeof other, "%s/other", dir + 1);
	snprintf(spare, sizeof spare, "%s/spare", dir + 1);
	puts("swapping");
	fflush(stdout);
	for (;;) {
		if (__wasi_path_rename(root, d, root, spare) || __wasi_path_rename(root, other, root, d) ||
		    __wasi_path_rename(root, spare, root, other)) {
			perror("escape: swap");
			return 1;
		}
	}
}

// probe reads, makes and removes files below names that others exchange, until
// it has seen both sides of each often enough. Nothing but a decoy may be there.
static int probe(const char *dir, const char *secret) {
	const char *names[] = {"d", "h", "tree/h/back"};
	char path[400], made[400], content[64];
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s/treasure", dir + 1, names[i]);
		snprintf(made, sizeof made, "%s/%s/made", dir + 1, names[i]);
		for (int hits = 0, misses = 0; hits < 200 || misses < 200;) {
			int fd = opened(path, 0, READ);
			if (fd < 0) {
				misses++;
			} else {
				__wasi_size_t n = 0;
				hits++;
				__wasi_fd_read(fd, &(__wasi_iovec_t){(uint8_t *)content, sizeof content - 1}, 1, &n);
				__wasi_fd_close(fd);
				content[n] = 0;
				if (strcmp(content, "decoy")) {
					printf("%s holds %s\n", path, content);
					return strstr(content, secret) ? 9 : 1;
				}
			}
			opens(follow, made, create, READ | WRITE);
			removes(made);
		}
		printf("%s: never more than the decoy\n", names[i]);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv) {
	const char *verb = argc > 1 ? argv[1] : "";
	if (argc == 3 && !strcmp(verb, "attempts")) {
		treasure = argv[2];
		for (int i = 0; i < 24; i++)
			strcat(up, "../");
		strncat(up, treasure + 1, sizeof up - strlen(up) - 1);
		preopens();
		paths();
		symlinks();
		directories();
		magic();
		readonly();
		look_for_memory();
		descriptors();
		return 0;
	}
	if (argc > 2 && !strcmp(verb, "open"))
		return open_all(argv + 2), 0;
	if (argc == 2 && !strcmp(verb, "mem"))
		return look_for_memory(), 0;
	if (argc == 2 && !strcmp(verb, "output"))
		return reopen_output(), 0;
	if (argc == 3 && !strcmp(verb, "swap"))
		return swap_for_ever(argv[2]);
	if (argc == 4 && !strcmp(verb, "probe"))
		return probe(argv[2], argv[3]);
	fputs("usage: escape attempts TREASURE | open PATH... | mem | output | swap DIR | probe DIR SECRET\n", stderr);
	return 2;
}
