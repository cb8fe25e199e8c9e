export { type RunningServer, type ServerClock, type ServerOptions, startServer } from "./main.ts";
