// What of Node's own modules is named by parts of the page that it never runs: the
// catalog's export to CSV.
module.exports = { Transform: class {}, Buffer: Uint8Array };
