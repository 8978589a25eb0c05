// Does one thing to one path; what fails is said with errno's own words.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what, const char *path) {
	fprintf(stderr, "files: %s %s: %s\n", what, path, strerror(errno));
	return 1;
}

static int write_text(const char *path, const char *text, int flags) {
	int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
	if (fd < 0)
		return failed("open", path);
	size_t length = strlen(text);
	if (write(fd, text, length) != (ssize_t)length)
		return failed("write", path);
	if (close(fd))
		return failed("close", path);
	return 0;
}

static int print(const char *path) {
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return failed("open", path);
	char buffer[4096];
	ssize_t n;
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		fwrite(buffer, 1, n, stdout);
	return n < 0 ? failed("read", path) : 0;
}

static int describe(const char *path) {
	struct stat st;
	if (stat(path, &st))
		return failed("stat", path);
	printf("%s %lld\n", S_ISDIR(st.st_mode) ? "directory" : S_ISREG(st.st_mode) ? "file" : "other",
	       (long long)st.st_size);
	return 0;
}

static int list(const char *path) {
	DIR *dir = opendir(path);
	if (!dir)
		return failed("opendir", path);
	for (struct dirent *e; (e = readdir(dir));)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			puts(e->d_name);
	closedir(dir);
	return 0;
}

int main(int argc, char **argv) {
	const char *verb = argc > 2 ? argv[1] : "", *path = argc > 2 ? argv[2] : "";
	if (argc == 4 && !strcmp(verb, "write"))
		return write_text(path, argv[3], O_TRUNC);
	if (argc == 4 && !strcmp(verb, "append"))
		return write_text(path, argv[3], O_APPEND);
	if (argc == 4 && !strcmp(verb, "rename"))
		return rename(path, argv[3]) ? failed("rename", path) : 0;
	if (argc == 3 && !strcmp(verb, "read"))
		return print(path);
	if (argc == 3 && !strcmp(verb, "stat"))
		return describe(path);
	if (argc == 3 && !strcmp(verb, "ls"))
		return list(path);
	if (argc == 3 && !strcmp(verb, "mkdir"))
		return mkdir(path, 0755) ? failed("mkdir", path) : 0;
	if (argc == 3 && !strcmp(verb, "rmdir"))
		return rmdir(path) ? failed("rmdir", path) : 0;
	if (argc == 3 && !strcmp(verb, "rm"))
		return unlink(path) ? failed("unlink", path) : 0;
	fputs("usage: files write|append PATH TEXT | rename PATH NEW | "
	      "read|stat|ls|mkdir|rmdir|rm PATH\n",
	      stderr);
	return 2;
}
