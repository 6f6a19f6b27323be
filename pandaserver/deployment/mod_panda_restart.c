/* Lets a graceful restart of Apache wait for the requests that are being served.
 *
 * Apache tells its children to end after their requests, and at once clears the memory of its configuration. With that
 * mod_wsgi removes the socket of the WSGI processes and ends them, within three seconds by force: whatever waits for
 * one of them, or was accepted and not passed on yet, gets 502 or 503. Here the clearing waits for those children first.
 * New connections meanwhile wait in the queue of the listening sockets, which stay open over a restart.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "httpd.h"
#include "ap_mpm.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "scoreboard.h"

#define STEP (10 * 1000)  /* microseconds between two looks */
#define CALM_STEPS 5      /* looks in a row that find nobody: a connection may be between accept() and its thread */

module AP_MODULE_DECLARE_DATA panda_restart_module;
APLOG_USE_MODULE(panda_restart);

static int seconds = 20;       /* PandaRestartPatience */
static pid_t parent;           /* who has children; they inherit this memory, and clear it when they end */
static int generation;         /* of the children that use the WSGI processes which are about to go */

/* Tell without reaping; that is for the MPM. */
static int has_ended(pid_t pid)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

static int is_serving(int slot, int threaded)
{
    process_score *process = &ap_scoreboard_image->parent[slot];

    if (process->pid <= 0 || process->generation != generation || has_ended(process->pid)) {
        return 0;
    }
    if (!threaded) { /* one connection for each process, which ends after it */
        return 1;
    }
    for (int thread = 0; thread < ap_scoreboard_image->global->thread_limit; thread++) {
        if (ap_scoreboard_image->servers[slot][thread].status != SERVER_DEAD) {
            return 1;
        }
    }
    return 0;
}

static int serving(int threaded)
{
    int found = 0;

    for (int slot = 0; slot < ap_scoreboard_image->global->server_limit; slot++) {
        found += is_serving(slot, threaded);
    }
    return found;
}

static apr_status_t wait_for_children(void *data)
{
    apr_time_t begun = apr_time_now();
    int threaded = AP_MPMQ_NOT_SUPPORTED, calm = 0, left = 0;

    if (getpid() != parent || !ap_exists_scoreboard_image()) {
        return APR_SUCCESS;
    }
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    while (calm < CALM_STEPS && apr_time_now() - begun < apr_time_from_sec(seconds)) {
        left = serving(threaded != AP_MPMQ_NOT_SUPPORTED);
        calm = left ? 0 : calm + 1;
        if (!left && threaded == AP_MPMQ_NOT_SUPPORTED) { /* they have all ended */
            break;
        }
        apr_sleep(STEP);
    }
    if (left) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, (server_rec *)data,
                     "%d processes still serve requests after %d s; those that need a WSGI process fail", left, seconds);
    }
    return APR_SUCCESS;
}

static int remember(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server)
{
    (void)plog;
    (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK;
    }
    parent = getpid();
    ap_mpm_query(AP_MPMQ_GENERATION, &generation);
    apr_pool_pre_cleanup_register(pconf, server, wait_for_children);
    return OK;
}

static const char *set_patience(cmd_parms *cmd, void *config, const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);

    (void)config;
    if (*end || end == text || value < 0 || value > 600) {
        return "PandaRestartPatience is a number of seconds, at most 600";
    }
    seconds = (int)value;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("PandaRestartPatience", set_patience, NULL, RSRC_CONF,
                  "seconds that a graceful restart waits for the requests that are being served"),
    {NULL}
};

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_post_config(remember, NULL, NULL, APR_HOOK_LAST);
}

module AP_MODULE_DECLARE_DATA panda_restart_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks
};
