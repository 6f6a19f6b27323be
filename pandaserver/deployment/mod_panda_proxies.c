/* Lets mod_ssl accept proxy certificates (RFC 3820), which OpenSSL verifies completely once it is told to.
 *
 * Apache has no directive for this flag, and OpenSSL 3 reads it from no environment variable and no file.
 */
#include "httpd.h"
#include "http_config.h"
#include "http_log.h"
#include "apr_optional_hooks.h"

/* As mod_ssl_openssl.h declares the hook; distributions put that file into a package of its own. */
typedef struct ssl_ctx_st SSL_CTX;
typedef int ssl_HOOK_init_server_t(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx);

/* From openssl/ssl.h and openssl/x509_vfy.h, unchanged since OpenSSL 1.1. */
typedef struct X509_VERIFY_PARAM_st X509_VERIFY_PARAM;
extern X509_VERIFY_PARAM *SSL_CTX_get0_param(SSL_CTX *ctx);
extern int X509_VERIFY_PARAM_set_flags(X509_VERIFY_PARAM *param, unsigned long flags);
#define ALLOW_PROXY_CERTS 0x40

module AP_MODULE_DECLARE_DATA panda_proxies_module;
APLOG_USE_MODULE(panda_proxies);

static int allow_proxies(server_rec *s, apr_pool_t *p, int is_proxy, SSL_CTX *ctx)
{
    (void)p;
    if (is_proxy) { /* Apache as a client of another server: nothing of ours */
        return DECLINED;
    }
    if (!X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ctx), ALLOW_PROXY_CERTS)) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, "proxy certificates cannot be allowed");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    APR_OPTIONAL_HOOK(ssl, init_server, allow_proxies, NULL, NULL, APR_HOOK_MIDDLE);
}

module AP_MODULE_DECLARE_DATA panda_proxies_module = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks
};
