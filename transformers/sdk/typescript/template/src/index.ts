// {{name}}: adds `full_name` to each row and drops the rows that nobody is to see.
import { ChangeEvent, Outcome, Settings, transformer } from "../penstock/index";

let dropStatuses: string[] = [];

/** Reads the registry entry's `config`, once. */
function configure(settings: Settings): void {
  dropStatuses = settings.texts("drop_statuses");
}

/** Transforms one change event. */
function transform(event: ChangeEvent): Outcome {
  if (!event.leavesARow) return Outcome.unchanged();
  const row = event.after;
  if (row === null) return Outcome.reject("no-after", "an insert, update or read without `after`");
  const status = row.text("status");
  if (status !== null && dropStatuses.includes(status)) return Outcome.drop();
  const first = row.text("first_name");
  const last = row.text("last_name");
  if (first === null || last === null) {
    return Outcome.reject("no-name", "after.first_name and after.last_name must both be there");
  }
  row.setText("full_name", first + " " + last);
  return event.emit();
}

transformer(transform, configure);
export * from "../penstock/exports";
