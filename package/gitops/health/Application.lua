-- An Application is as healthy as what it delivers. Without this Argo CD begins the
-- next wave while the Applications of this one are still at work.
local hs = {status = "Progressing", message = "Waiting for its first comparison"}
if obj.status ~= nil and obj.status.health ~= nil and obj.status.health.status ~= nil then
  hs.status = obj.status.health.status
  hs.message = obj.status.health.message or ""
end
-- Healthy is also what nothing has been applied to yet.
if hs.status == "Healthy" and (obj.status.sync == nil or obj.status.sync.status ~= "Synced") then
  hs.status = "Progressing"
  hs.message = "Not synced yet"
end
return hs
