/** `flagback/testing`: a real server for tests, in one line. Needs no test framework. */
export { startTestServer, type TestConfig, type TestServer, type TestServerOptions } from "./test-server.ts";
