// The page /docs: describes REST from /openapi.json, and makes calls with the key that its reader types.
import bundle from "swagger-ui-dist/swagger-ui-bundle.js?url";
import "swagger-ui-dist/swagger-ui.css";

interface Outgoing {
  credentials?: RequestCredentials;
}

declare const SwaggerUIBundle: (options: {
  url: string;
  dom_id: string;
  deepLinking: boolean;
  docExpansion: "none";
  tryItOutEnabled: boolean;
  defaultModelsExpandDepth: number;
  validatorUrl: null;
  requestInterceptor: (request: Outgoing) => Outgoing;
}) => unknown;

// The bundle is a classic script that its authors have minified, so the build only copies it.
const script = document.createElement("script");
script.src = bundle;
script.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    docExpansion: "none",
    tryItOutEnabled: true,
    defaultModelsExpandDepth: -1,
    validatorUrl: null,
    // A call is made with the typed key or with nothing, never with the session of somebody who is signed in here.
    requestInterceptor: (request) => ({ ...request, credentials: "omit" }),
  });
});
document.head.append(script);
