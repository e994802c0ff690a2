export { InvalidApiKey } from "./api-keys.js";
export { type AppOptions, createApp } from "./app.js";
export { type Listening, type ListenOptions, listen } from "./listen.js";
