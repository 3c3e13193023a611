/* libre, the SIP stack of baresip. */
#include "reader.h"

#include <re/re.h>

static void prepare(void)
{
    libre_init();
}

static void put_text(enum field field, const struct pl *text)
{
    if (text->p != NULL)
        put(field, text->p, text->l);
}

static void put_uri(enum field field, const struct uri *uri)
{
    if (uri->user.l > 0)
        put_text(field, &uri->user);
    else if (pl_strcasecmp(&uri->scheme, "tel") == 0 || pl_strcasecmp(&uri->scheme, "urn") == 0)
        /* What other schemes hold is taken for a host. */
        put_text(field, &uri->host);
}

static bool put_header(const struct sip_hdr *header, const struct sip_msg *msg, void *field)
{
    struct sip_addr address;

    (void)msg;
    if (sip_addr_decode(&address, &header->val) == 0)
        put_uri(*(enum field *)field, &address.uri);
    return *(enum field *)field == F_DIVERSION_USER;
}

static enum kind read_message(char *message, size_t length)
{
    static enum field asserted = F_ASSERTED_USER, diversion = F_DIVERSION_USER;
    struct mbuf *buffer = mbuf_alloc(length + 1);
    struct sip_msg *msg = NULL;
    enum kind kind = NOTHING;

    mbuf_write_mem(buffer, (const uint8_t *)message, length);
    buffer->pos = 0;
    /* Its transactions and dialogs need these. */
    if (sip_msg_decode(&msg, buffer) == 0 && pl_isset(&msg->from.val) && pl_isset(&msg->to.val) &&
        pl_isset(&msg->callid) && pl_isset(&msg->cseq.met) && pl_isset(&msg->via.sentby)) {
        const struct sip_hdr *agent = sip_msg_hdr(msg, SIP_HDR_USER_AGENT);

        if (msg->req) {
            kind = REQUEST;
            put_text(F_METHOD, &msg->met);
            put_uri(F_REQUEST_USER, &msg->uri);
        } else {
            char code[16];

            kind = RESPONSE;
            snprintf(code, sizeof code, "%u", msg->scode);
            put_string(F_METHOD, code);
        }
        put_uri(F_FROM_USER, &msg->from.uri);
        put_uri(F_TO_USER, &msg->to.uri);
        if (agent != NULL)
            put_text(F_USER_AGENT, &agent->val);
        sip_msg_hdr_apply(msg, true, SIP_HDR_P_ASSERTED_IDENTITY, put_header, &asserted);
        sip_msg_xhdr_apply(msg, true, "Diversion", put_header, &diversion);
        put_text(F_CALL_ID, &msg->callid);
    }
    mem_deref(msg);
    mem_deref(buffer);
    return kind;
}
