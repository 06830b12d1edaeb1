/* Loaded before the gateway: its threads stay ordinary ones, as under the shipped unit, which forbids the call
 * (RestrictRealtime=yes, SystemCallFilter=~@resources, SystemCallErrorNumber=EPERM). */
#include <errno.h>
#include <sched.h>

int sched_setscheduler(pid_t thread, int policy, const struct sched_param *parameters)
{
    (void)thread;
    (void)policy;
    (void)parameters;
    errno = EPERM;
    return -1;
}
