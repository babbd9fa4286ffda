// An app as its authors write it: the openai package, OpenTelemetry's own instrumentation of it with message contents on,
// spans and logs over gRPC. Nothing of ours.
import { logs } from "@opentelemetry/api-logs";
import { OTLPLogExporter } from "@opentelemetry/exporter-logs-otlp-grpc";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-grpc";
import { registerInstrumentations } from "@opentelemetry/instrumentation";
import { OpenAIInstrumentation } from "@opentelemetry/instrumentation-openai";
import { detectResources, envDetector } from "@opentelemetry/resources";
import { BatchLogRecordProcessor, LoggerProvider } from "@opentelemetry/sdk-logs";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { AsyncLocalStorage } from "node:async_hooks";
import { createRequire } from "node:module";

const customer = new AsyncLocalStorage();
const attribution = {
  onStart: (span) => span.setAttributes(customer.getStore() ?? {}),
  onEnd: () => {},
  forceFlush: async () => {},
  shutdown: async () => {},
};
const resource = detectResources({ detectors: [envDetector] });
const tracerProvider = new NodeTracerProvider({
  resource,
  spanProcessors: [attribution, new BatchSpanProcessor(new OTLPTraceExporter())],
});
const loggerProvider = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor(new OTLPLogExporter())] });
tracerProvider.register();
logs.setGlobalLoggerProvider(loggerProvider);
const instrumentation = new OpenAIInstrumentation({ captureMessageContent: true });
registerInstrumentations({ tracerProvider, loggerProvider, instrumentations: [instrumentation] });

const { OpenAI } = createRequire(import.meta.url)("openai"); // after the instrumentation, which patches it when it loads
const openai = new OpenAI({ maxRetries: 0 });
const messages = [{ role: "user", content: process.env.PROMPT }];
const acme = {
  "infraprism.entity_type": "customer",
  "infraprism.entity_id": "acme-corp",
  "infraprism.session_id": "s-1",
  "infraprism.tags.feature": "chatbot",
};

await openai.chat.completions.create({ model: "gpt-4o-mini", messages });
await customer.run(acme, () => openai.chat.completions.create({ model: "gpt-4.1-mini", messages }));
await customer.run(acme, async () => {
  const stream_options = { include_usage: true };
  for await (const _ of await openai.chat.completions.create({ model: "gpt-4o", messages, stream: true, stream_options }));
});
await openai.embeddings.create({ model: "text-embedding-3-small", input: process.env.PROMPT });
await openai.chat.completions.create({ model: "gpt-4o-mini-err429", messages }).catch(() => {});

await Promise.all([tracerProvider.forceFlush(), loggerProvider.forceFlush()]);
await Promise.all([tracerProvider.shutdown(), loggerProvider.shutdown()]);
