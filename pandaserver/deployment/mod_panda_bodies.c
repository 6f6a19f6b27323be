/* Reads the beginning of a request's body before a WSGI process gets the request.
 *
 * mod_wsgi hands a request over when its headers are there. Each sender who is slow with the body would occupy one of
 * the few processes meanwhile, and some of them all. Here they occupy a thread of Apache, of which there are many, until
 * the body is complete, or longer than what is kept for it.
 */
#include <stdlib.h>
#include <string.h>

#include "httpd.h"
#include "apr_buckets.h"
#include "apr_strings.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"
#include "util_filter.h"

#define FILTER "PANDA_BODY_AHEAD"
#define PIECE 65536

module AP_MODULE_DECLARE_DATA panda_bodies_module;
APLOG_USE_MODULE(panda_bodies);

static apr_off_t ahead = 1048576; /* PandaBodyAhead, bytes */

/* Hand out what was read ahead, then step aside. */
static apr_status_t replay(ap_filter_t *f, apr_bucket_brigade *out, ap_input_mode_t mode, apr_read_type_e block,
                           apr_off_t wanted)
{
    apr_bucket_brigade *kept = f->ctx;
    apr_bucket *end;
    apr_status_t rv;

    if (APR_BRIGADE_EMPTY(kept)) {
        ap_remove_input_filter(f);
        return ap_get_brigade(f->next, out, mode, block, wanted);
    }
    if (mode != AP_MODE_READBYTES && mode != AP_MODE_SPECULATIVE) {
        return APR_ENOTIMPL;
    }
    rv = apr_brigade_partition(kept, wanted, &end);
    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE) {
        return rv;
    }
    while (APR_BRIGADE_FIRST(kept) != end && !APR_BRIGADE_EMPTY(kept)) {
        apr_bucket *first = APR_BRIGADE_FIRST(kept);

        if (mode == AP_MODE_SPECULATIVE) {
            apr_bucket *copy;

            for (; first != end && first != APR_BRIGADE_SENTINEL(kept); first = APR_BUCKET_NEXT(first)) {
                if ((rv = apr_bucket_copy(first, &copy)) != APR_SUCCESS) {
                    return rv;
                }
                APR_BRIGADE_INSERT_TAIL(out, copy);
            }
            break;
        }
        APR_BUCKET_REMOVE(first);
        APR_BRIGADE_INSERT_TAIL(out, first);
    }
    return APR_SUCCESS;
}

static int read_ahead(request_rec *r)
{
    apr_bucket_brigade *kept, *piece;
    apr_off_t have = 0;
    int complete = 0;

    if (!r->handler || strncmp(r->handler, "wsgi-script", 11) || r->main || r->prev || ahead <= 0) {
        return DECLINED;
    }
    if (!apr_table_get(r->headers_in, "Content-Length")) { /* without a length mod_wsgi refuses a body */
        return DECLINED;
    }
    kept = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    piece = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    while (!complete && have < ahead) {
        apr_status_t rv = ap_get_brigade(r->input_filters, piece, AP_MODE_READBYTES, APR_BLOCK_READ, PIECE);
        apr_off_t length = 0;

        if (rv != APR_SUCCESS) {
            ap_log_rerror(APLOG_MARK, APLOG_INFO, rv, r, "the body ended after %" APR_OFF_T_FMT " bytes", have);
            return ap_map_http_request_error(rv, HTTP_BAD_REQUEST);
        }
        complete = !APR_BRIGADE_EMPTY(piece) && APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(piece));
        apr_brigade_length(piece, 1, &length);
        have += length;
        if ((rv = ap_save_brigade(NULL, &kept, &piece, r->pool)) != APR_SUCCESS) {
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    ap_add_input_filter(FILTER, kept, r, r->connection);
    return DECLINED;
}

static const char *set_ahead(cmd_parms *cmd, void *config, const char *text)
{
    char *end;

    (void)config;
    if (apr_strtoff(&ahead, text, &end, 10) != APR_SUCCESS || *end || end == text || ahead < 0) {
        return "PandaBodyAhead is a number of bytes; 0: none";
    }
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("PandaBodyAhead", set_ahead, NULL, RSRC_CONF,
                  "bytes of a body that are read before a WSGI process gets the request"),
    {NULL}
};

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_register_input_filter(FILTER, replay, NULL, AP_FTYPE_RESOURCE);
    ap_hook_handler(read_ahead, NULL, NULL, APR_HOOK_REALLY_FIRST);
}

module AP_MODULE_DECLARE_DATA panda_bodies_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks
};
