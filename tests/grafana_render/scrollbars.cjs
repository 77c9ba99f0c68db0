// For esbuild, which gives a .mjs file that imports the default of such a package the module's object, as Node.js does.
module.exports = require('./node_modules/react-custom-scrollbars-2').default;
