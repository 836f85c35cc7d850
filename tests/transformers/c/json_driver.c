/* Answers questions about JSON with the C SDK, on stdin and stdout: a byte that says which, a length, a text; back comes a
 * length and a text. Everything is done in blocks of exactly the right size, so that the sanitizers see each byte too many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock_debezium.h"

static char *answer;
static size_t answer_size, answer_room;

static uint8_t *room(size_t size) {
    if (answer_size + size > answer_room) {
        answer_room = 2 * (answer_size + size);
        answer = realloc(answer, answer_room);
        if (!answer) abort();
    }
    return (uint8_t *)answer + answer_size;
}

static void say(const char *text) {
    size_t size = strlen(text);
    memcpy(room(size), text, size);
    answer_size += size;
}

static void say_quoted(penstock_bytes text) {
    uint64_t size = penstock_json_quoted_size(text);
    uint8_t *exact = malloc(size);
    if (penstock_json_quote(exact, text) != exact + size) abort();
    memcpy(room(size), exact, size);
    answer_size += size;
    free(exact);
}

static void say_error(penstock_json_error error) {
    char text[200];
    snprintf(text, sizeof text, "{\"error\":\"%s\",\"at\":%u}", error.problem, error.at);
    say(text);
}

/* A string as a list with its text, or with null for half of a surrogate pair. */
static void say_string(penstock_bytes inside) {
    int64_t size = penstock_json_decode(inside, NULL);
    if (size < 0) {
        say("null");
        return;
    }
    uint8_t *decoded = malloc(inside.size + 1);
    if (penstock_json_decode(inside, decoded) != size) abort();
    penstock_bytes text = {decoded, (uint32_t)size};
    if (!penstock_json_stands_for(inside, text)) abort();
    say_quoted(text);
    free(decoded);
}

/* The value again: numbers as `["number", text]`, strings as `["string", text]`, objects as `["object", name, value, …]`. */
static void say_value(penstock_json value) {
    bool is_object = penstock_json_kind_of(value) == PENSTOCK_JSON_OBJECT;
    penstock_json_walk walk;
    switch (penstock_json_kind_of(value)) {
    case PENSTOCK_JSON_NUMBER:
        say("[\"number\",");
        say_quoted(value);
        break;
    case PENSTOCK_JSON_STRING:
        say("[\"string\",");
        say_string(penstock_json_inside(value));
        break;
    case PENSTOCK_JSON_ARRAY:
    case PENSTOCK_JSON_OBJECT:
        say(is_object ? "[\"object\"" : "[\"array\"");
        walk = is_object ? penstock_json_members(value) : penstock_json_elements(value);
        while (penstock_json_next(&walk)) {
            say(",");
            if (is_object) {
                say_string(walk.name);
                say(",");
            }
            say_value(walk.value);
        }
        if (walk.error.problem) say(",\"a name that is no text\"");
        break;
    default:
        memcpy(room(value.size), value.data, value.size);
        answer_size += value.size;
        return;
    }
    say("]");
}

static void parse(penstock_bytes text) {
    penstock_json value;
    penstock_json_error error;
    if (penstock_json_parse(text, &value, &error)) say_value(value);
    else say_error(error);
}

/* The envelope's kind and parts. */
static void envelope(penstock_bytes text) {
    penstock_envelope found = penstock_debezium(text);
    if (found.kind == PENSTOCK_VALUE_BAD) {
        say_error(found.error);
        return;
    }
    const char *kinds[] = {"", "[\"change\",\"", "[\"other\",\"", "[\"null\",\""};
    char operation[2] = {found.operation, 0};
    say(kinds[found.kind]);
    say(operation);
    say("\",");
    say_value(found.before.data ? found.before : PENSTOCK_TEXT("null"));
    say(",");
    say_value(found.after.data ? found.after : PENSTOCK_TEXT("null"));
    say("]");
}

static bool grow(penstock_json_edits *edits, uint32_t count_max, uint32_t size_max) {
    edits->edits = realloc(edits->edits, (edits->count_max = count_max) * sizeof *edits->edits);
    edits->inserted = realloc(edits->inserted, edits->size_max = size_max);
    return edits->edits && edits->inserted;
}

static penstock_bytes decoded(penstock_json value) {
    penstock_bytes inside = penstock_json_inside(value);
    uint8_t *text = malloc(inside.size + 1);
    int64_t size = penstock_json_decode(inside, text);
    if (size < 0) abort();
    return (penstock_bytes){text, (uint32_t)size};
}

static void edit(penstock_json_edits *edits, penstock_json root, penstock_json wish) {
    penstock_json object = root, path = penstock_json_member(wish, PENSTOCK_TEXT("path"));
    for (penstock_json_walk steps = penstock_json_elements(path); penstock_json_next(&steps);) {
        penstock_bytes step = decoded(steps.value);
        object = penstock_json_member(object, step);
        free((void *)step.data);
    }
    penstock_bytes name = decoded(penstock_json_member(wish, PENSTOCK_TEXT("name")));
    penstock_json to = penstock_json_member(wish, PENSTOCK_TEXT("to"));
    penstock_json_new value = penstock_json_new_raw(to);
    penstock_bytes text = {NULL, 0};
    if (penstock_json_kind_of(to) == PENSTOCK_JSON_STRING) value = penstock_json_new_text(text = decoded(to));
    penstock_json_set(edits, object, penstock_json_member(object, name), name, value);
    free((void *)name.data);
    free((void *)text.data);
}

/* `{"text": json, "edits": [{"path": [name, …], "name": name, "to": value}, …]}` → the edited text. */
static void edit_all(penstock_bytes request) {
    penstock_json root, wishes;
    penstock_json_error error;
    if (!penstock_json_parse(request, &wishes, &error)) abort();
    penstock_bytes text = decoded(penstock_json_member(wishes, PENSTOCK_TEXT("text")));
    if (!penstock_json_parse(text, &root, &error)) abort();
    penstock_json_edits edits = penstock_json_edit_text(text, NULL, 0, NULL, 0);
    edits.grow = grow;
    penstock_json each = penstock_json_member(wishes, PENSTOCK_TEXT("edits"));
    for (penstock_json_walk walk = penstock_json_elements(each); penstock_json_next(&walk);) edit(&edits, root, walk.value);
    uint64_t size = penstock_json_edited_size(&edits);
    if (edits.problem) {
        say_error((penstock_json_error){edits.problem, 0});
    } else {
        uint8_t *exact = malloc(size + 1);
        if (penstock_json_write(&edits, exact) != exact + size) abort();
        memcpy(room(size), exact, size);
        answer_size += size;
        free(exact);
    }
    free(edits.edits);
    free(edits.inserted);
    free((void *)text.data);
}

int main(void) {
    int what;
    while ((what = getchar()) != EOF) {
        uint32_t size;
        if (fread(&size, sizeof size, 1, stdin) != 1) return 1;
        uint8_t *text = malloc(size ? size : 1);
        if (size && fread(text, size, 1, stdin) != 1) return 1;
        answer_size = 0;
        penstock_bytes request = {text, size};
        if (what == 'p') parse(request);
        else if (what == 'd') envelope(request);
        else edit_all(request);
        free(text);
        uint32_t answered = (uint32_t)answer_size;
        fwrite(&answered, sizeof answered, 1, stdout);
        fwrite(answer, answer_size, 1, stdout);
        fflush(stdout);
    }
    free(answer);
    return 0;
}
