SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#interface",
  validatorUrl: null,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
});
