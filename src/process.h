/*
 * What the daemon's process as a whole may do, and how much: set up before anything is read.
 */
#ifndef MRTOKEND_PROCESS_H
#define MRTOKEND_PROCESS_H

/*
 * No core dump, no debugger of the same user, no new privileges, all descriptors that are allowed.
 * What the kernel refuses is logged. Before the first secret is read, and before any thread starts.
 */
void process_guard(void);

/*
 * Overwrite the variables that a platform or an operator passes secrets in, also where no account
 * uses them. After the configuration has been loaded, and before any thread starts.
 */
void process_wipe_environment(void);

/*
 * How many clients may be connected: as many as there are descriptors for; where there are few,
 * every second one is for a client.
 */
unsigned process_connection_limit(void);

#endif
