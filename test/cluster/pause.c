/* What holds a pod's namespaces: it waits, and collects the processes whose parents are gone. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void
end(int number)
{
	(void) number;
	_exit(0);
}

static void
collect(int number)
{
	(void) number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

int
main(void)
{
	signal(SIGTERM, end);
	signal(SIGINT, end);
	signal(SIGCHLD, collect);
	for (;;)
		pause();
}
