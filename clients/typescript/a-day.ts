// An app's day, with a client made from the contract: node build/a-day.js ADDRESS TOKEN FILE
import { writeFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Task = Schemas["AnyTaskStatus"];

const [address = "", token = "", file = ""] = process.argv.slice(2);
// Lists are offered as CSV, too; this client asks for JSON.
const api = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: address,
  headers: { Authorization: `Bearer ${token}` },
});

/** The data of an answer; a problem is thrown, as its sentence. */
function found<T>(answer: { data?: T; error?: Schemas["ProblemDetails"] }): NonNullable<T> {
  if (answer.data == null) throw new Error(answer.error?.detail ?? "no answer");
  return answer.data;
}

/** The states of a task, from the stream of its events, until it has ended. */
async function* follow(task_id: string): AsyncGenerator<Task> {
  for (;;) {
    const path = "/api/v1/background/status/{task_id}/events";
    const stream = found(await api.GET(path, { params: { path: { task_id } }, parseAs: "stream" }));
    for await (const [event, data] of events(stream)) {
      if (event === "status") yield JSON.parse(data) as Task;
      if (event === "line") console.error((JSON.parse(data) as Schemas["TaskLine"]).text);
      if (event === "end" && data.includes("the task has ended")) return;
    }
    // The stream lasts for 15 minutes at most.
  }
}

/** The events of a stream, each with its name and data. */
async function* events(stream: ReadableStream<Uint8Array>): AsyncGenerator<[string, string]> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    const whole = text.split("\n\n");
    text = whole.pop() ?? "";
    for (const lines of whole) {
      const event = /^event: (.*)$/m.exec(lines)?.[1];
      const data = /^data: (.*)$/m.exec(lines)?.[1];
      if (event !== undefined && data !== undefined) yield [event, data];
    }
  }
}

/** The task in its last state; `kind` then says which result it has. */
async function finished(task_id: string): Promise<Task> {
  let last: Task | undefined;
  for await (const task of follow(task_id)) {
    const { what, completed, total } = task.progress ?? {};
    console.error(task.kind, task.status, what ? `${completed} of ${total} ${what}` : "");
    last = task;
  }
  if (last?.status !== "success") throw new Error(last?.error ?? last?.status ?? "it is gone");
  return last;
}

const refresh = await api.POST("/api/v1/background/refresh", {
  // Sent again with the same key, it has one task.
  params: { header: { "idempotency-key": "tuesday" } },
  body: { symbols: ["AAPL", "JPM"] },
});
const refreshed = await finished(found(refresh).task_id);
if (refreshed.kind !== "refresh" || !refreshed.result || "skipped" in refreshed.result) {
  throw new Error("not the result of a refresh");
}

const levels = await api.GET("/api/v1/index/levels", {
  params: { query: { order: "desc", per_page: 2 } },
});
const page = found(levels);

const report = await api.POST("/api/v1/background/generate-report", {
  body: { report_type: "monthly", format: "pdf" },
});
const reported = await finished(found(report).task_id);
if (reported.kind !== "report" || !reported.result || "skipped" in reported.result) {
  throw new Error("not the result of a report");
}
const path = { task_id: reported.task_id };
const downloaded = await api.GET("/api/v1/reports/{task_id}/file", {
  params: { path },
  parseAs: "arrayBuffer",
});
await writeFile(file, Buffer.from(found(downloaded)));

// A task for tomorrow, which nobody needs after all.
const later = await api.POST("/api/v1/background/compute-index", {
  body: { strategy: "momentum", run_at: new Date(Date.now() + 86_400_000).toISOString() },
});
const cancelled = await api.DELETE("/api/v1/background/task/{task_id}", {
  params: { path: { task_id: found(later).task_id } },
});
const tooLate = await api.DELETE("/api/v1/background/task/{task_id}", { params: { path } });

// The tasks of the list, page by page; each comes once, though others are added meanwhile.
const listed: string[] = [];
let cursor: string | undefined;
do {
  const query = { per_page: 2, ...(cursor === undefined ? {} : { cursor }) };
  const tasks = await api.GET("/api/v1/background/tasks", { params: { query } });
  listed.push(...found(tasks).tasks.map((task) => task.task_id));
  const next = /<(.*)>; rel="next"/.exec(tasks.response.headers.get("link") ?? "")?.[1];
  cursor = next && (new URL(next, address).searchParams.get("cursor") ?? undefined);
} while (cursor !== undefined);

console.log(
  JSON.stringify({
    refreshed: refreshed.result.symbols_processed,
    newest: page.levels.map((level) => level.session),
    report: reported.result.media_type,
    cancelled: found(cancelled).status,
    too_late: [tooLate.error?.status, tooLate.error?.type],
    listed: new Set(listed).size === listed.length && listed.includes(reported.task_id),
  }),
);
