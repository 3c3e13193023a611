/* What every reader shares: messages in, one line for each out.
 *
 * Standard input: a length (32 bits, little-endian), then that many bytes, again and again. Standard output: one line for
 * each message, with the fields below, tab-separated. Values are hexadecimal, so that any byte can be in them; "-" is
 * a value that the server does not have, "" an empty one, and a comma separates several.
 */
#ifndef READER_H
#define READER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum kind { NOTHING, REQUEST, RESPONSE };

enum field { F_METHOD, F_REQUEST_USER, F_FROM_USER, F_TO_USER, F_USER_AGENT, F_ASSERTED_USER, F_DIVERSION_USER, F_CALL_ID, FIELDS };

#define LARGEST_MESSAGE (1 << 20)

/* One field's text. A NUL ends it too: the libraries use C strings, and so do the programs built on them. */
struct value {
    char hex[2 * 65536 + 64];
    size_t used;
    int present;
};

static struct value values[FIELDS];

static void put(enum field field, const char *text, size_t length)
{
    struct value *value = &values[field];
    size_t i;

    if (text == NULL)
        return;
    if (value->used + 2 * length + 2 > sizeof value->hex)
        length = (sizeof value->hex - value->used - 2) / 2;
    if (value->present)
        value->hex[value->used++] = ',';
    value->present = 1;
    for (i = 0; i < length; i++) {
        static const char digits[] = "0123456789abcdef";
        value->hex[value->used++] = digits[(unsigned char)text[i] >> 4];
        value->hex[value->used++] = digits[(unsigned char)text[i] & 15];
    }
    value->hex[value->used] = 0;
}

static inline void put_string(enum field field, const char *text)
{
    if (text != NULL)
        put(field, text, strlen(text));
}

/* What each reader defines: prepares the library, and reads one message. The buffer is the reader's to write to, and a NUL
 * follows the message. */
static void prepare(void);
static enum kind read_message(char *message, size_t length);

static int read_fully(char *buffer, size_t length)
{
    return fread(buffer, 1, length, stdin) == length;
}

int main(void)
{
    static char message[LARGEST_MESSAGE + 1];
    static const char *const kinds[] = { "nothing", "request", "response" };
    unsigned char head[4];
    /* The libraries print to standard output when something goes wrong: results get a descriptor of their own. */
    FILE *results = fdopen(dup(STDOUT_FILENO), "w");

    if (results == NULL || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return 2;
    prepare();
    while (read_fully((char *)head, sizeof head)) {
        size_t length = head[0] | head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        enum kind kind;
        int field;

        if (length > LARGEST_MESSAGE || !read_fully(message, length))
            return 2;
        message[length] = 0;
        for (field = 0; field < FIELDS; field++) {
            values[field].used = 0;
            values[field].present = 0;
            values[field].hex[0] = 0;
        }
        /* A library that loops for ever ends like one that crashes. */
        alarm(10);
        kind = read_message(message, length);
        alarm(0);
        fputs(kinds[kind], results);
        for (field = 0; field < FIELDS; field++) {
            fputc('\t', results);
            fputs(values[field].present ? values[field].hex : "-", results);
        }
        fputc('\n', results);
        fflush(results);
    }
    return 0;
}

#endif
