/* belle-sip, the SIP stack of Linphone and Flexisip's newer parts. */
#include "reader.h"

#include <belle-sip/belle-sip.h>

static void prepare(void)
{
    belle_sip_set_log_level(BELLE_SIP_LOG_FATAL);
}

static int is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* One word of at most `most` bytes at `*at`, after white space. Returns its length. */
static size_t word(const char **at, const char *end, size_t most)
{
    const char *start;

    while (*at < end && is_space(**at))
        ++*at;
    start = *at;
    while (*at < end && **at != 0 && !is_space(**at) && (size_t)(*at - start) < most)
        ++*at;
    return (size_t)(*at - start);
}

/* belle-sip's channel takes a message from where three words start, the first a token and the third `SIP/2.0`, or the two
 * words of a status line: what comes before is skipped, whatever it is. */
static size_t start_of_message(const char *message, size_t length)
{
    const char *end = message + length;
    size_t start;

    for (start = 0; start + 12 < length; start++) {
        const char *at = message + start, *first = at;
        size_t i, size;

        if (message[start] == '\r' || message[start] == '\n' || message[start] == ' ' || message[start] == '\t')
            continue;
        if (strncmp(at, "SIP/2.0 ", 8) == 0)
            return start;
        size = word(&at, end, 16);
        for (i = 0; i < size; i++)
            if (strchr("-.!%*_+`'~", first[i]) == NULL && !((first[i] >= '0' && first[i] <= '9') ||
                ((first[i] | 32) >= 'a' && (first[i] | 32) <= 'z')))
                break;
        if (size == 0 || i < size || word(&at, end, (size_t)-1) == 0)
            continue;
        size = word(&at, end, 9);
        if (size == 7 && memcmp(at - 7, "SIP/2.0", 7) == 0)
            return start;
    }
    return length;
}

/* tel: and other schemes: what a program would read on to find the user part. */
static void put_opaque(enum field field, const belle_generic_uri_t *uri)
{
    const char *text = belle_generic_uri_get_opaque_part(uri);

    if (text != NULL)
        put(field, text, strcspn(text, "@;?"));
}

static void put_address(enum field field, const belle_sip_header_address_t *address)
{
    const belle_sip_uri_t *uri;
    const belle_generic_uri_t *other;

    if (address == NULL)
        return;
    uri = belle_sip_header_address_get_uri(address);
    other = belle_sip_header_address_get_absolute_uri(address);
    if (uri != NULL)
        put_string(field, belle_sip_uri_get_user(uri));
    else if (other != NULL)
        put_opaque(field, other);
}

static void put_headers(enum field field, belle_sip_message_t *sip, const char *name, int all)
{
    const belle_sip_list_t *item = belle_sip_message_get_headers(sip, name);

    for (; item != NULL; item = item->next) {
        /* A header that belle-sip does not know shows its value as text alone. */
        char *text = belle_sip_object_to_string(BELLE_SIP_OBJECT(item->data));
        const char *colon = text != NULL ? strchr(text, ':') : NULL;
        belle_sip_header_address_t *address = colon != NULL ? belle_sip_header_address_parse(colon + 1 + strspn(colon + 1, " \t")) : NULL;

        if (address != NULL) {
            put_address(field, address);
            belle_sip_object_unref(address);
        }
        if (text != NULL)
            belle_sip_free(text);
        if (!all)
            return;
    }
}

static enum kind read_message(char *message, size_t length)
{
    size_t start = start_of_message(message, length), used = 0;
    belle_sip_message_t *sip;
    enum kind kind = NOTHING;

    /* The channel waits for the blank line. */
    if (start == length || strstr(message + start, "\r\n\r\n") == NULL)
        return NOTHING;
    sip = belle_sip_message_parse_raw(message + start, length - start, &used);
    if (sip == NULL)
        return NOTHING;
    if (belle_sip_message_get_header(sip, "From") != NULL && belle_sip_message_get_header(sip, "To") != NULL &&
        belle_sip_message_get_header(sip, "Call-ID") != NULL && belle_sip_message_get_header(sip, "CSeq") != NULL &&
        belle_sip_message_get_header(sip, "Via") != NULL) {
        belle_sip_header_t *agent = belle_sip_message_get_header(sip, "User-Agent");
        const char *call_id;

        if (belle_sip_message_is_request(sip)) {
            belle_sip_request_t *request = BELLE_SIP_REQUEST(sip);

            kind = REQUEST;
            put_string(F_METHOD, belle_sip_request_get_method(request));
            if (belle_sip_request_get_uri(request) != NULL)
                put_string(F_REQUEST_USER, belle_sip_uri_get_user(belle_sip_request_get_uri(request)));
            else if (belle_sip_request_get_absolute_uri(request) != NULL)
                put_opaque(F_REQUEST_USER, belle_sip_request_get_absolute_uri(request));
        } else {
            char code[16];

            kind = RESPONSE;
            snprintf(code, sizeof code, "%d", belle_sip_response_get_status_code(BELLE_SIP_RESPONSE(sip)));
            put_string(F_METHOD, code);
        }
        put_address(F_FROM_USER, BELLE_SIP_HEADER_ADDRESS(belle_sip_message_get_header(sip, "From")));
        put_address(F_TO_USER, BELLE_SIP_HEADER_ADDRESS(belle_sip_message_get_header(sip, "To")));
        if (agent != NULL) {
            char text[65536];

            if (belle_sip_header_user_agent_get_products_as_string((belle_sip_header_user_agent_t *)agent, text,
                                                                   sizeof text - 1) > 0 &&
                strcmp(text, "(null)") != 0)
                put_string(F_USER_AGENT, text);
        }
        put_headers(F_ASSERTED_USER, sip, "P-Asserted-Identity", 1);
        put_headers(F_DIVERSION_USER, sip, "Diversion", 0);
        call_id = belle_sip_header_call_id_get_call_id(
            BELLE_SIP_HEADER_CALL_ID(belle_sip_message_get_header(sip, "Call-ID")));
        if (call_id != NULL && strcmp(call_id, "(null)") != 0)
            put_string(F_CALL_ID, call_id);
    }
    belle_sip_object_unref(sip);
    return kind;
}
