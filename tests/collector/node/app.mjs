// An app as its authors write it: the AI SDK with its own telemetry on, and OpenTelemetry's Node SDK. Nothing of ours.
import { createOpenAI } from "@ai-sdk/openai";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { detectResources, envDetector } from "@opentelemetry/resources";
import { BatchSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { embed, generateText, streamText } from "ai";
import { AsyncLocalStorage } from "node:async_hooks";

const customer = new AsyncLocalStorage();
const attribution = {
  onStart: (span) => span.setAttributes(customer.getStore() ?? {}),
  onEnd: () => {},
  forceFlush: async () => {},
  shutdown: async () => {},
};
const provider = new NodeTracerProvider({
  resource: detectResources({ detectors: [envDetector] }),
  spanProcessors: [attribution, new BatchSpanProcessor(new OTLPTraceExporter())],
});
provider.register();

const openai = createOpenAI();
const prompt = process.env.PROMPT;
const settings = { prompt, system: prompt, maxRetries: 0, experimental_telemetry: { isEnabled: true, functionId: prompt } };
const acme = {
  "infraprism.entity_type": "customer",
  "infraprism.entity_id": "acme-corp",
  "infraprism.session_id": "s-1",
  "infraprism.tags.feature": "chatbot",
};

await generateText({ model: openai.chat("gpt-4o-mini"), ...settings });
await customer.run(acme, () => generateText({ model: openai.responses("gpt-4.1-mini"), ...settings }));
await customer.run(acme, async () => {
  const { textStream } = streamText({ model: openai.chat("gpt-4o"), ...settings });
  for await (const _ of textStream);
});
const { system, prompt: value, ...rest } = settings;
await embed({ model: openai.textEmbeddingModel("text-embedding-3-small"), value, ...rest });
await generateText({ model: openai.chat("gpt-4o-mini-err429"), ...settings }).catch(() => {});

await provider.forceFlush();
await provider.shutdown();
