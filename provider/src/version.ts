/** How the provider introduces itself to the server. A test holds the number to `package.json`. */
export const SDK_NAME = "@flagback/provider 0.1.0";
