/** Workers import a compiled module; Vite and wrangler make it one. */
declare module "*.wasm" {
  const module: WebAssembly.Module;
  export default module;
}
