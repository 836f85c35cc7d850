// {{name}}: masks the e-mail address in rows; drops drafts. What is not touched stays as it came, digit for digit.
import { drop, emit, reject, transformer, unchanged } from "penstock";

export default transformer({
  name: "{{name}}",

  // What stands under `config:` in registry.yaml. Throw an Error to refuse it.
  configure(config) {
    return { mask: config.mask ?? "***" };
  },

  transform(event, settings) {
    const row = event.after;
    if (!row) return unchanged; // a delete, a tombstone
    if (row.get("status") === "draft") return drop;

    const email = row.get("email");
    if (email === undefined || email === null) return unchanged;
    if (typeof email !== "string") return reject("bad-email", `after.email is ${row.text("email")}: a text was expected`);
    row.set("email", email.replace(/^[^@]*/, settings.mask));
    return emit(event);
  },
});
