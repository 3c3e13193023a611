/* PJSIP, the SIP stack of Asterisk, read as its endpoint and Asterisk's res_pjsip do.
 *
 * Debian has no PJSIP to build with. The libraries come from a Python wheel, which holds no headers: what is used of them
 * is declared here, as PJSIP 2.x has it on 64-bit machines.
 */
#include <stddef.h>

#include "reader.h"

typedef long pj_ssize_t;
typedef struct { char *ptr; pj_ssize_t slen; } pj_str_t;
typedef struct pj_pool pj_pool_t;

struct uri;
struct uri_operations {
    const pj_str_t *(*scheme)(const void *uri);
    struct uri *(*inner)(void *uri);
    void *compare, *print, *clone;
};
struct uri { struct uri_operations *operations; };
/* sip: and sips: have the user here, tel: its number. */
struct uri_with_user { struct uri_operations *operations; pj_str_t user; };
/* Any other scheme. */
struct other_uri { struct uri_operations *operations; pj_str_t scheme, content; };

struct header { struct header *prev, *next; int type; pj_str_t name, sname; void *operations; };
struct text_header { struct header header; pj_str_t value; };
struct address_header { struct header header; struct uri *uri; };

struct method { int id; pj_str_t name; };
struct message {
    int type;
    union {
        struct { struct method method; struct uri *uri; } request;
        struct { int code; pj_str_t reason; } status;
    } line;
    struct header headers;
    void *body;
};

enum { TYPE_REQUEST, TYPE_RESPONSE };

int pj_init(void);
int pjlib_util_init(void);
void pj_log_set_level(int level);
void pj_caching_pool_init(void *pool, const void *policy, size_t capacity);
pj_pool_t *pj_pool_create(void *factory, const char *name, size_t initial, size_t increment, void *callback);
void pj_pool_release(pj_pool_t *pool);
int pjsip_endpt_create(void *factory, const char *name, void **endpoint);
struct message *pjsip_parse_msg(pj_pool_t *pool, char *buffer, size_t size, void *errors);
void *pjsip_parse_hdr(pj_pool_t *pool, const pj_str_t *name, char *buffer, size_t size, int *used);
void *pjsip_msg_find_hdr_by_name(const struct message *message, const pj_str_t *name, const void *start);

/* pj_caching_pool is smaller. */
static union { max_align_t align; char bytes[1 << 16]; } pools;

static void prepare(void)
{
    void *endpoint = NULL;

    if (pj_init() != 0 || pjlib_util_init() != 0)
        exit(2);
    pj_log_set_level(0);
    pj_caching_pool_init(&pools, NULL, 1 << 20);
    /* This prepares the parser. */
    if (pjsip_endpt_create(&pools, "reader", &endpoint) != 0)
        exit(2);
    pj_log_set_level(0);
}

static void put_text(enum field field, const pj_str_t *text)
{
    if (text->ptr != NULL && text->slen >= 0)
        put(field, text->ptr, (size_t)text->slen);
}

static void put_uri(enum field field, struct uri *uri)
{
    const pj_str_t *scheme;

    if (uri == NULL)
        return;
    uri = uri->operations->inner(uri);
    if (uri == NULL)
        return;
    scheme = uri->operations->scheme(uri);
    if ((scheme->slen == 3 && (strncasecmp(scheme->ptr, "sip", 3) == 0 || strncasecmp(scheme->ptr, "tel", 3) == 0)) ||
        (scheme->slen == 4 && strncasecmp(scheme->ptr, "sips", 4) == 0)) {
        const struct uri_with_user *known = (const struct uri_with_user *)uri;

        if (known->user.slen > 0)
            put_text(field, &known->user);
    } else {
        const pj_str_t *content = &((const struct other_uri *)uri)->content;
        size_t length = 0;

        /* What a program would read on to find the user part. */
        while ((pj_ssize_t)length < content->slen && strchr("@;?", content->ptr[length]) == NULL)
            length++;
        put(field, content->ptr, length);
    }
}

static struct header *find(const struct message *message, const char *name, const struct header *after)
{
    pj_str_t wanted = { (char *)name, (pj_ssize_t)strlen(name) };
    struct header *found = pjsip_msg_find_hdr_by_name(message, &wanted, after != NULL ? after->next : NULL);

    return found;
}

/* Asterisk reads the identity headers that PJSIP does not know as if they were From. */
static void put_headers(enum field field, pj_pool_t *pool, const struct message *message, const char *name, int all)
{
    struct header *header = NULL;

    while ((header = find(message, name, header)) != NULL) {
        const pj_str_t *value = &((const struct text_header *)header)->value;
        char *copy = malloc((size_t)value->slen + 1);
        pj_str_t from = { "From", 4 };
        struct address_header *address;

        memcpy(copy, value->ptr, (size_t)value->slen);
        copy[value->slen] = 0;
        address = pjsip_parse_hdr(pool, &from, copy, (size_t)value->slen, NULL);
        if (address != NULL)
            put_uri(field, address->uri);
        free(copy);
        if (!all || header->next == &message->headers)
            return;
    }
}

static enum kind read_message(char *message, size_t length)
{
    pj_pool_t *pool = pj_pool_create(&pools, "message", 65536, 65536, NULL);
    struct message *sip;
    enum kind kind = NOTHING;

    /* Its transport skips line ends in front of a message. */
    while (length > 0 && (*message == '\r' || *message == '\n')) {
        message++;
        length--;
    }
    sip = length > 0 ? pjsip_parse_msg(pool, message, length, NULL) : NULL;
    if (sip != NULL) {
        struct header *from = find(sip, "From", NULL), *to = find(sip, "To", NULL), *agent = find(sip, "User-Agent", NULL);
        struct header *call_id = find(sip, "Call-ID", NULL);

        /* Its transport manager drops a message without these. */
        if (from != NULL && to != NULL && call_id != NULL && ((struct text_header *)call_id)->value.slen > 0 &&
            find(sip, "CSeq", NULL) != NULL && find(sip, "Via", NULL) != NULL) {
            if (sip->type == TYPE_REQUEST) {
                kind = REQUEST;
                put_text(F_METHOD, &sip->line.request.method.name);
                put_uri(F_REQUEST_USER, sip->line.request.uri);
            } else {
                char code[16];

                kind = RESPONSE;
                snprintf(code, sizeof code, "%d", sip->line.status.code);
                put_string(F_METHOD, code);
            }
            put_uri(F_FROM_USER, ((struct address_header *)from)->uri);
            put_uri(F_TO_USER, ((struct address_header *)to)->uri);
            if (agent != NULL)
                put_text(F_USER_AGENT, &((struct text_header *)agent)->value);
            put_headers(F_ASSERTED_USER, pool, sip, "P-Asserted-Identity", 1);
            put_headers(F_DIVERSION_USER, pool, sip, "Diversion", 0);
            put_text(F_CALL_ID, &((struct text_header *)call_id)->value);
        }
    }
    pj_pool_release(pool);
    return kind;
}
