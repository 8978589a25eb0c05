// Goes where PWD says, as a program that wants a working directory must
// (wasi-libc starts every program in "/"), and prints where it is and what
// the file "here", a relative path, holds.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
	const char *pwd = getenv("PWD");
	if (pwd && chdir(pwd)) {
		fprintf(stderr, "cwd: chdir %s: %s\n", pwd, strerror(errno));
		return 1;
	}
	char path[4096];
	if (!getcwd(path, sizeof path)) {
		fprintf(stderr, "cwd: getcwd: %s\n", strerror(errno));
		return 1;
	}
	puts(path);
	FILE *here = fopen("here", "r");
	if (here) {
		char line[256];
		while (fgets(line, sizeof line, here))
			fputs(line, stdout);
	}
	return 0;
}
