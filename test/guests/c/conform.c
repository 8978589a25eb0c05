// Does with wasi-libc what programs do to files, directories, clocks and polls,
// below the folder that it is told, and says of each what is not as POSIX has it.
//
//	conform DIR
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			printf("%s:%d: %s (errno %d, %s)\n", __func__, __LINE__, #condition, errno, strerror(errno)); \
			failures++; \
		} \
	} while (0)
#define FAILS(call, error) CHECK((errno = 0, (call) < 0 && errno == (error)))

static int has(const char *path, const char *text) {
	char buffer[256] = "";
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof buffer - 1);
	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) && !strcmp(buffer, text);
}

static void make(const char *path, const char *text) {
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && !close(fd));
}

static void files(void) {
	make("f", "0123456789");
	int fd = open("f", O_RDWR);
	char b[16] = "", c[16] = "";
	struct iovec v[] = {{b, 2}, {c, 3}};
	CHECK(readv(fd, v, 2) == 5 && !strcmp(b, "01") && !strcmp(c, "234"));
	CHECK(lseek(fd, 0, SEEK_CUR) == 5 && lseek(fd, -1, SEEK_END) == 9 && lseek(fd, 2, SEEK_SET) == 2);
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	struct iovec w[] = {{"a", 1}, {"bc", 2}};
	CHECK(writev(fd, w, 2) == 3 && has("f", "01abc56789"));
	CHECK(pread(fd, b, 2, 8) == 2 && !memcmp(b, "89", 2) && pwrite(fd, "Z", 1, 9) == 1 && has("f", "01abc5678Z"));
	CHECK(!ftruncate(fd, 3) && has("f", "01a") && !truncate("f", 2) && has("f", "01"));
	CHECK(!posix_fallocate(fd, 0, 4) && !posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	CHECK(!fsync(fd) && !fdatasync(fd));
	struct stat st;
	CHECK(!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size == 4 && st.st_nlink == 1);
	CHECK(!close(fd));
	FAILS(close(fd), EBADF);
	fd = open("f", O_RDONLY);
	FAILS(write(fd, "x", 1), EBADF);
	close(fd);
	fd = open("f", O_WRONLY | O_APPEND);
	FAILS(read(fd, b, 1), EBADF);
	CHECK(fcntl(fd, F_GETFL) & O_APPEND);
	CHECK(!fcntl(fd, F_SETFL, O_NONBLOCK) && (fcntl(fd, F_GETFL) & (O_APPEND | O_NONBLOCK)) == O_NONBLOCK);
	close(fd);
	FAILS(open("none", O_RDONLY), ENOENT);
	FAILS(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	FAILS(open("f", O_WRONLY | O_CREAT | O_EXCL, 0644), EEXIST);
	FAILS(open("f/x", O_RDONLY), ENOTDIR);
	FILE *stream = fopen("stream", "w+");
	CHECK(stream && fputs("line one\nline two\n", stream) >= 0 && !fseek(stream, 5, SEEK_SET));
	CHECK(stream && fgets(b, sizeof b, stream) && !strcmp(b, "one\n") && ftell(stream) == 9 && !fclose(stream));
}

static void names(void) {
	struct stat st, lst;
	make("a", "of a");
	CHECK(!mkdir("dir", 0755) && !rename("a", "dir/b") && has("dir/b", "of a"));
	FAILS(mkdir("dir", 0755), EEXIST);
	FAILS(rmdir("dir"), ENOTEMPTY);
	FAILS(unlink("dir"), EISDIR);
	FAILS(rmdir("dir/b"), ENOTDIR);
	CHECK(!symlink("dir/b", "link") && has("link", "of a"));
	char target[16] = "";
	CHECK(readlink("link", target, sizeof target) == 5 && !strcmp(target, "dir/b"));
	CHECK(!stat("link", &st) && S_ISREG(st.st_mode) && !lstat("link", &lst) && S_ISLNK(lst.st_mode));
	FAILS(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK(!link("dir/b", "hard") && !stat("hard", &lst) && lst.st_ino == st.st_ino && lst.st_nlink == 2);
	struct timespec times[2] = {{1000, 5}, {2000, 7}};
	CHECK(!utimensat(AT_FDCWD, "hard", times, 0) && !stat("dir/b", &st) && st.st_atim.tv_sec == 1000 && st.st_mtim.tv_sec == 2000 && st.st_mtim.tv_nsec == 7);
	int dir = open("dir", O_RDONLY | O_DIRECTORY), fd = openat(dir, "b", O_RDONLY);
	CHECK(dir >= 0 && fd >= 0 && !fstatat(dir, "b", &st, 0) && !renameat(dir, "b", dir, "c") && !unlinkat(dir, "c", 0));
	FAILS(openat(dir, "../hard", O_RDONLY), EPERM);
	close(fd);
	close(dir);
	CHECK(!unlink("link") && !unlink("hard") && !rmdir("dir") && access("dir", F_OK) < 0);
}

static void directories(void) {
	enum { count = 500 };
	char path[32];
	CHECK(!mkdir("many", 0755));
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "many/%d", i);
		make(path, "");
	}
	DIR *dir = opendir("many");
	CHECK(dir);
	int seen = 0, dots = 0;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		dots += *e->d_name == '.';
		seen += e->d_type == DT_REG;
	}
	CHECK(seen == count && dots == 2);
	rewinddir(dir);
	CHECK(readdir(dir) && !closedir(dir));
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof path, "many/%d", i);
		CHECK(!unlink(path));
	}
	CHECK(!rmdir("many"));
	FAILS(rmdir("many"), ENOENT);
}

static long long elapsed(clockid_t clock, const struct timespec *since) {
	struct timespec now;
	clock_gettime(clock, &now);
	return (now.tv_sec - since->tv_sec) * 1000000000LL + now.tv_nsec - since->tv_nsec;
}

static void clocks(void) {
	const clockid_t all[] = {CLOCK_REALTIME, CLOCK_MONOTONIC};
	for (int i = 0; i < 2; i++) {
		struct timespec began, resolution, span = {0, 20000000};
		CHECK(!clock_getres(all[i], &resolution) && resolution.tv_nsec > 0 && !clock_gettime(all[i], &began));
		CHECK(!clock_nanosleep(all[i], 0, &span, NULL) && elapsed(all[i], &began) >= 20000000);
		clock_gettime(all[i], &began);
		struct timespec until = began;
		until.tv_nsec += 20000000;
		if (until.tv_nsec >= 1000000000)
			until.tv_sec++, until.tv_nsec -= 1000000000;
		CHECK(!clock_nanosleep(all[i], TIMER_ABSTIME, &until, NULL) && elapsed(all[i], &began) >= 20000000);
	}
	uint64_t random[2] = {0};
	CHECK(!getentropy(random, sizeof random) && (random[0] || random[1]));
}

// polls is told "ready" on the standard input, and then its end.
static void polls(void) {
	int file = open("f", O_RDWR);
	struct pollfd p[] = {{0, POLLRDNORM, 0}, {1, POLLWRNORM, 0}, {file, POLLRDNORM, 0}};
	CHECK(poll(p, 3, -1) >= 2 && p[1].revents == POLLWRNORM && p[2].revents == POLLRDNORM);
	CHECK(poll(p, 1, 5000) == 1 && p[0].revents & POLLRDNORM);
	char b[16] = "";
	CHECK(read(0, b, sizeof b) == 5 && !strcmp(b, "ready"));
	fd_set in;
	FD_ZERO(&in);
	FD_SET(0, &in);
	struct timeval limit = {5, 0};
	CHECK(select(1, &in, NULL, NULL, &limit) == 1 && FD_ISSET(0, &in) && read(0, b, sizeof b) == 0);
	CHECK(!isatty(0) && !isatty(1) && !isatty(file));
	FAILS(lseek(0, 0, SEEK_CUR), ESPIPE);
	close(file);
}

int main(int argc, char **argv) {
	if (argc != 2)
		return fputs("usage: conform DIR\n", stderr), 2;
	if (chdir(argv[1]))
		return perror("conform: chdir"), 2;
	files();
	names();
	directories();
	clocks();
	polls();
	printf("failures: %d\n", failures);
	return failures != 0;
}
