/* GNU oSIP (libosip2), which eXosip and several SBCs and gateways are built on. */
#include "reader.h"

#include <osipparser2/osip_parser.h>

static void prepare(void)
{
    parser_init();
}

static void put_uri(enum field field, const osip_uri_t *uri)
{
    if (uri == NULL)
        return;
    if (uri->username != NULL)
        put_string(field, uri->username);
    else if (uri->string != NULL)
        /* A scheme other than sip and sips: what follows it, for programs that read on. */
        put(field, uri->string, strcspn(uri->string, "@;?"));
}

static void put_generic(enum field field, osip_message_t *sip, const char *name, int all)
{
    osip_header_t *header = NULL;
    int position = 0;

    while ((position = osip_message_header_get_byname(sip, name, position, &header)) >= 0) {
        osip_from_t *address = NULL;

        if (header->hvalue != NULL && osip_from_init(&address) == 0) {
            if (osip_from_parse(address, header->hvalue) == 0)
                put_uri(field, address->url);
            osip_from_free(address);
        }
        if (!all)
            return;
        position++;
    }
}

static enum kind read_message(char *message, size_t length)
{
    osip_message_t *sip = NULL;
    enum kind kind = NOTHING;

    if (osip_message_init(&sip) != 0)
        return NOTHING;
    /* osip_parse refuses a message without these. */
    if (osip_message_parse(sip, message, length) == 0 && sip->from != NULL && sip->to != NULL && sip->call_id != NULL &&
        sip->cseq != NULL && osip_list_size(&sip->vias) > 0) {
        osip_header_t *agent = NULL;
        char *call_id = NULL;

        if (MSG_IS_REQUEST(sip)) {
            kind = REQUEST;
            put_string(F_METHOD, sip->sip_method);
            put_uri(F_REQUEST_USER, sip->req_uri);
        } else {
            char code[16];

            kind = RESPONSE;
            snprintf(code, sizeof code, "%d", sip->status_code);
            put_string(F_METHOD, code);
        }
        put_uri(F_FROM_USER, sip->from->url);
        put_uri(F_TO_USER, sip->to->url);
        if (osip_message_header_get_byname(sip, "user-agent", 0, &agent) >= 0)
            put_string(F_USER_AGENT, agent->hvalue);
        put_generic(F_ASSERTED_USER, sip, "p-asserted-identity", 1);
        put_generic(F_DIVERSION_USER, sip, "diversion", 0);
        if (osip_call_id_to_str(sip->call_id, &call_id) == 0) {
            put_string(F_CALL_ID, call_id);
            osip_free(call_id);
        }
    }
    osip_message_free(sip);
    return kind;
}
