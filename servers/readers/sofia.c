/* Sofia-SIP, the SIP stack of FreeSWITCH, read as mod_sofia and Sofia's transaction engine (nta) do. */
#include "reader.h"

#include <sofia-sip/msg.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_extra.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_parser.h>
#include <sofia-sip/sip_util.h>
#include <sofia-sip/su.h>
#include <sofia-sip/su_log.h>

static void prepare(void)
{
    su_init();
    su_log_set_level(su_log_default, 0);
    /* As mod_sofia does, for P-Asserted-Identity and other headers of RFC 3325. */
    sip_update_default_mclass(sip_extend_mclass(NULL));
}

static void put_first_url(enum field field, su_home_t *home, const char *text)
{
    sip_to_t *address = sip_to_make(home, text);

    if (address != NULL)
        put_string(field, address->a_url->url_user);
}

static enum kind read_message(char *message, size_t length)
{
    msg_t *msg = msg_make(sip_default_mclass(), 0, message, (ssize_t)length);
    enum kind kind = NOTHING;
    sip_t *sip;

    if (msg == NULL)
        return NOTHING;
    sip = sip_object(msg);
    /* nta answers a request with an error in a vital header with 400, and drops what has no sense. */
    if (sip != NULL && !(sip->sip_flags & MSG_FLG_ERROR) && sip_sanity_check(sip) >= 0) {
        sip_p_asserted_identity_t *asserted = sip_p_asserted_identity(sip);
        sip_unknown_t *unknown;

        if (sip->sip_request != NULL) {
            kind = REQUEST;
            put_string(F_METHOD, sip->sip_request->rq_method_name);
            put_string(F_REQUEST_USER, sip->sip_request->rq_url->url_user);
        } else {
            char code[16];

            kind = RESPONSE;
            snprintf(code, sizeof code, "%d", sip->sip_status->st_status);
            put_string(F_METHOD, code);
        }
        put_string(F_FROM_USER, sip->sip_from->a_url->url_user);
        put_string(F_TO_USER, sip->sip_to->a_url->url_user);
        if (sip->sip_user_agent != NULL)
            put_string(F_USER_AGENT, sip->sip_user_agent->g_string);
        for (; asserted != NULL; asserted = asserted->paid_next)
            put_string(F_ASSERTED_USER, asserted->paid_url->url_user);
        for (unknown = sip->sip_unknown; unknown != NULL; unknown = unknown->un_next) {
            if (strcasecmp(unknown->un_name, "Diversion") == 0) {
                put_first_url(F_DIVERSION_USER, msg_home(msg), unknown->un_value);
                break;
            }
        }
        put_string(F_CALL_ID, sip->sip_call_id->i_id);
    }
    msg_destroy(msg);
    return kind;
}
